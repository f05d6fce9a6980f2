"""Every kind of corruption is named by the check that promises it, mended by repair, and never trained on."""

import pytest
from corruptions import KINDS, Patient


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return Patient(tmp_path_factory.mktemp("patient"))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("damage", KINDS, ids=lambda damage: damage.__name__)
def test_a_corruption_is_named_and_mended_and_never_used(patient, damage, seed):
    patient.suffer(damage, seed)
