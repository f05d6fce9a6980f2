"""Fields for training: normalised, by position in the split and frame."""

import numpy as np
import pytest
import torch

from ups_engine.data.fields import TrainingFields
from ups_engine.data.prepare import prepare_data


@pytest.fixture
def member(tmp_path, write_pdebench, random_fields, settings_for):
    path = write_pdebench(tmp_path / "1D_Burgers_Sols_Nu0.01.hdf5", random_fields(20, 6, 16))
    return prepare_data(settings_for(f"data.path={path}")).members[0]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("room", [0, 1 << 30])
def test_frames_come_normalised_wherever_they_live(member, device, room):
    fields = TrainingFields(member, "train", torch.device(device), room)
    rows, frames = torch.tensor([3, 0, 3], device=device), torch.tensor([5, 1, 0], device=device)
    found = fields.gather(rows, frames)
    expected = member.read(member.splits.train[[3, 0, 3]], np.array([[5], [1], [0]]))[:, 0]
    assert found.device.type == device
    torch.testing.assert_close(found.cpu(), member.normalisation.apply(torch.from_numpy(expected)))
    assert torch.equal(fields.trajectory(3)[5], found[0])
    assert len(fields) == len(member.splits.train)


def test_trajectories_are_named_by_their_numbers_in_the_source(member):
    fields, train = TrainingFields(member, "train", torch.device("cpu")), member.splits.train
    assert fields.describe(torch.tensor([0, 1])) == f"trajectories {train[0]}, {train[1]}"
    assert fields.describe(torch.arange(9)).endswith(" ...")
