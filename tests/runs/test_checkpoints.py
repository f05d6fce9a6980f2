import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
import torch

from ups_engine.errors import CheckpointError
from ups_engine.runs.checkpoints import check_result, load_result, save_result, settle_results
from ups_engine.runs.sidecars import flaw, has_result, list_results, read_sidecar

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
]


def awkward_tensors():
    """Every number format and every way in which a tensor can lie in memory."""
    base = torch.randn(6, 8, dtype=torch.float64)
    tied = torch.randn(3, 3)
    odd = torch.tensor([float("nan"), float("inf"), -0.0, 5e-324], dtype=torch.float64)
    made = {f"dtype.{dtype}": (torch.arange(-4, 5) % 3).to(dtype).reshape(3, 3) for dtype in DTYPES}
    return made | {
        "0-d": torch.tensor(2**62 + 1),
        "empty": torch.empty(0, 3),
        "odd": odd,
        "transposed": base.T,
        "slice/of.it": base[1:3, ::2],
        "row": base[0],
        "expanded": torch.tensor([1.5]).expand(4),
        "tied.a": tied,
        "tied.b": tied,
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }


def same(first, second):
    return (
        first.keys() == second.keys()
        and all(first[k].dtype == second[k].dtype and first[k].shape == second[k].shape for k in first)
        and all(bits(first[k]) == bits(second[k]) for k in first)
    )


def bits(tensor):
    plain = tensor.detach().resolve_conj().contiguous().flatten()
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def test_every_kind_of_tensor_comes_back_to_the_last_bit(run):
    tensors = awkward_tensors()
    save_result(run, "operator", tensors, {"stage": "operator", "metrics": {"nrmse": 0.1}})
    loaded, sidecar = load_result(run, "operator")
    assert same(loaded, tensors)
    assert sidecar["stage"] == "operator" and sidecar["metrics"] == {"nrmse": 0.1}
    loaded["tied.a"].add_(1)  # each has memory of its own
    assert torch.equal(loaded["tied.b"], tensors["tied.b"])


def test_equal_results_are_equal_files(run, make_run):
    tensors = awkward_tensors()
    other = make_run("other")
    save_result(run, "operator", tensors, {"b": 1, "a": 2})
    save_result(other, "operator", dict(reversed(tensors.items())), {"b": 1, "a": 2})
    for name in ("operator.safetensors", "operator.json"):
        assert (run.checkpoints / name).read_bytes() == (other.checkpoints / name).read_bytes()


def test_a_result_is_a_pair_of_files_that_is_found_by_its_name(run):
    save_result(run, "operator_ema", {"w": torch.ones(2)}, {})
    assert has_result(run, "operator_ema") and not has_result(run, "operator")
    assert list_results(run) == ["operator_ema"]
    assert torch.equal(load_result(run, "operator_ema")[0]["w"], torch.ones(2))
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [
        "operator_ema.json",
        "operator_ema.safetensors",
        "resume",
    ]


def test_a_missing_result_is_named_with_those_that_are_there(run):
    save_result(run, "encoder", {"w": torch.ones(2)}, {})
    with pytest.raises(CheckpointError, match="no checkpoint operator") as caught:
        load_result(run, "operator")
    assert "encoder" in caught.value.hint
    (run.checkpoints / "encoder.json").unlink()
    with pytest.raises(CheckpointError, match=r"encoder\.json is missing"):
        load_result(run, "encoder")
    assert not has_result(run, "encoder")


@pytest.mark.parametrize("file", ["operator.safetensors", "operator.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_damage_is_found_on_loading(run, file, damage):
    save_result(run, "operator", {"w": torch.arange(100)}, {"stage": "operator"})
    path = run.checkpoints / file
    content = bytearray(path.read_bytes())
    at = content.index(b'"sha256": "') + 20 if file.endswith("json") else len(content) - 5
    content[at] ^= 1
    path.write_bytes({"flip": bytes(content), "truncate": bytes(content[:-7]), "empty": b""}[damage])
    with pytest.raises(CheckpointError, match="operator"):
        load_result(run, "operator")


def test_a_file_that_is_no_safetensors_is_refused_even_with_the_right_checksum(run):
    (run.checkpoints / "x.safetensors").write_bytes(b"junk")
    (run.checkpoints / "x.json").write_text(json.dumps({"sha256": hashlib.sha256(b"junk").hexdigest()}))
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_result(run, "x")


def test_the_sidecar_cannot_state_a_checksum_of_its_own(run):
    with pytest.raises(ValueError, match="sha256"):
        save_result(run, "x", {}, {"sha256": "0"})


def test_a_format_that_safetensors_lacks_is_a_programming_error(run):
    with pytest.raises(TypeError, match="complex128"):
        save_result(run, "x", {"z": torch.zeros(1, dtype=torch.complex128)}, {})
    assert list_results(run) == []


def save_and_die(run, moves):
    """Store a second version and kill the process before a rename of that number."""
    done, rename = 0, Path.replace

    def replace(self, target):
        nonlocal done
        if done == moves:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return rename(self, target)

    Path.replace = replace
    save_result(run, "operator", {"w": torch.ones(3)}, {"version": 2})
    return "survived"


@pytest.mark.parametrize(("moves", "version"), [(0, 1), (1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("settled", [False, True])
def test_a_kill_between_any_two_moves_leaves_the_old_result_or_the_new(run, in_child, moves, version, settled):
    save_result(run, "operator", {"w": torch.zeros(3)}, {"version": 1})
    assert in_child(lambda: save_and_die(run, moves)) == (-signal.SIGKILL if moves < 3 else "survived")
    if settled:
        settle_results(run)
        assert json.loads((run.checkpoints / "operator.json").read_text())["version"] == version
        assert not list(run.checkpoints.glob(".*.json"))
    tensors, sidecar = load_result(run, "operator")
    assert sidecar["version"] == version
    assert tensors["w"].tolist() == [version - 1.0] * 3
    save_result(run, "operator", {"w": torch.full((3,), 7.0)}, {"version": 3})
    assert load_result(run, "operator")[1]["version"] == 3


def test_a_full_disk_keeps_the_old_result(run, on_a_full_disk):
    save_result(run, "operator", {"w": torch.zeros(3)}, {"version": 1})
    said = on_a_full_disk(lambda: save_result(run, "operator", {"w": torch.zeros(9000)}, {"version": 2}))
    assert "operator.safetensors" in said and str(run.path) in said and "free some space" in said
    assert load_result(run, "operator")[1]["version"] == 1
    assert not list(run.checkpoints.glob("*.tmp"))


def test_the_hash_of_a_result_is_told_without_reading_its_tensors(run):
    save_result(run, "net", {"a": torch.zeros(3)}, {})
    digest = hashlib.sha256((run.checkpoints / "net.safetensors").read_bytes()).hexdigest()
    assert read_sidecar(run, "net")["sha256"] == digest
    (run.checkpoints / "net.safetensors").write_bytes(b"")
    assert read_sidecar(run, "net")["sha256"] == digest
    with pytest.raises(CheckpointError, match="there is no checkpoint other"):
        read_sidecar(run, "other")


@pytest.mark.parametrize("key", ["stage", "version", "trained_on", "format", "seal", "bytes"])
def test_a_sidecar_that_was_edited_anywhere_is_refused(run, key):
    save_result(run, "net", {"a": torch.zeros(3)}, {"stage": "operator", "version": 2, "trained_on": {"encoder": "0"}})
    path = run.checkpoints / "net.json"
    sidecar = json.loads(path.read_text())
    path.write_text(json.dumps({**sidecar, key: 1}))
    with pytest.raises(CheckpointError, match=r"net.json is damaged: it is not as UPS wrote it"):
        load_result(run, "net")
    path.write_text(json.dumps({name: value for name, value in sidecar.items() if name != key}))
    with pytest.raises(CheckpointError, match=r"net.json is damaged: it is not as UPS wrote it"):
        load_result(run, "net")


def trained_pair(run):
    save_result(run, "encoder", {"w": torch.zeros(3)}, {})
    sidecar = {"run": run.record.id, "trained_on": {"encoder": read_sidecar(run, "encoder")["sha256"]}}
    save_result(run, "operator", {"w": torch.zeros(2)}, {"stage": "operator", **sidecar})


def test_a_result_goes_with_what_it_was_trained_on_and_with_its_run(run, make_run):
    trained_pair(run)
    check_result(run, "operator")
    assert flaw(run, "operator") is None
    sound = {path: path.read_bytes() for path in run.checkpoints.glob("encoder.*")}
    save_result(run, "encoder", {"w": torch.ones(3)}, {})
    with pytest.raises(CheckpointError, match=r"operator.safetensors was trained with another encoder") as caught:
        check_result(run, "operator")
    assert "ups train --resume one --stage operator" in caught.value.hint
    for path, data in sound.items():
        path.write_bytes(data)
    check_result(run, "operator")
    (run.checkpoints / "encoder.json").write_text("{}")  # nothing to compare with: who loads it hears of that
    check_result(run, "operator")
    other = make_run("other")
    for path in run.checkpoints.glob("operator.*"):
        (other.checkpoints / path.name).write_bytes(path.read_bytes())
    assert flaw(other, "operator").endswith("operator.safetensors was made by another run")


def test_a_result_whose_replacement_was_killed_half_way_counts_as_the_one_that_is_there(run, in_child):
    trained_pair(run)

    def die():
        rename, done = Path.replace, []

        def replace(self, target):
            if len(done) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(target)
            return rename(self, target)

        Path.replace = replace
        save_result(run, "encoder", {"w": torch.ones(3)}, {})

    assert in_child(die) == -signal.SIGKILL
    assert load_result(run, "encoder")[0]["w"].tolist() == [1.0] * 3
    with pytest.raises(CheckpointError, match="trained with another encoder"):
        check_result(run, "operator")
