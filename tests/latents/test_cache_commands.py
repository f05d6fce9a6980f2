"""`ups cache`, run as a user runs it, over a cache whose encoder is given."""

import json
import sys
from dataclasses import replace
from types import ModuleType

import pytest
from toy_cache import toy_target

from ups_app.cli.main import main
from ups_engine.latents.store import LatentStore
from ups_engine.latents.target import CacheContext


@pytest.fixture
def targets(tmp_path):
    folder = tmp_path / "data/latent_cache"
    return toy_target(folder, samples=8), toy_target(folder, samples=3, split="val")


@pytest.fixture
def ups(tmp_path, targets, monkeypatch, capsys):
    """Run `ups` in an empty folder, with the toy's encoder for that of a run; (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    pipeline = ModuleType("ups_engine.pipeline")
    pipeline.cache_context = lambda settings, run: CacheContext(  # type: ignore[attr-defined]
        targets, f"encoder of {run or 'the newest run'}", "cpu", settings.latent.residency
    )
    monkeypatch.setitem(sys.modules, "ups_engine.pipeline", pipeline)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return run


def test_an_unbuilt_cache_is_not_ready_and_a_built_one_is(ups):
    code, out, err = ups("cache", "check")
    assert code == 1 and err == "encoder of the newest run\n"
    assert "Not ready. train: there is no cache yet. val: there is no cache yet." in " ".join(out.split())
    code, out, err = ups("cache", "build", "myrun")
    assert (
        code == 0 and out == "" and err.startswith("encoder of myrun\ntrain: 8 of 8 trajectories complete, 8 encoded")
    )
    code, out, _ = ups("cache", "check")
    assert code == 0
    assert out.splitlines()[0].split() == [
        *["split", "samples", "complete", "missing", "stale", "corrupt"],
        *["on", "disk", "in", "RAM"],
    ]
    assert out.splitlines()[1].split()[:6] == ["train", "8", "8", "0", "0", "0"]
    assert "Ready: all 11 trajectories are complete" in out and "from RAM" in out


def test_json_is_all_that_stdout_carries(ups):
    code, out, _ = ups("cache", "build", "--json")
    assert code == 0 and [split["built"] for split in json.loads(out)["splits"]] == [8, 3]
    code, out, _ = ups("cache", "check", "--json", "--deep")
    report = json.loads(out)
    assert code == 0 and report["ready"] is True
    assert set(report) == {"splits", "ram", "gpu", "residency", "ready"}


def test_a_flipped_byte_needs_the_deep_check_and_a_truncated_chunk_does_not(ups, targets):
    ups("cache", "build")
    store = LatentStore(targets[0].path, targets[0].layout)
    with store.chunk(3).open("r+b") as file:
        file.seek(40)
        file.write(b"\xff")
    assert ups("cache", "check")[0] == 0
    code, out, _ = ups("cache", "check", "--deep")
    assert code == 1 and "trajectory 3: its checksum fails" in " ".join(out.split())
    with store.chunk(5).open("r+b") as file:
        file.truncate(100)
    code, out, _ = ups("cache", "check", "--json")
    assert code == 1 and json.loads(out)["splits"][0]["corrupt"] == 1


def test_a_build_can_be_bounded_to_a_split_and_a_number(ups):
    code, out, _ = ups("cache", "build", "--split", "train", "--limit", "2", "--json")
    assert code == 0
    (split,) = json.loads(out)["splits"]
    assert (split["name"], split["complete"], split["built"]) == ("train", 2, 2)


def test_a_split_that_does_not_exist_is_a_usage_error(ups):
    code, _, err = ups("cache", "build", "--split", "tset")
    assert code == 2 and "there is no split 'tset'" in err and "train, val" in err


def test_a_forced_gpu_without_one_is_a_settings_error(ups):
    code, _, err = ups("cache", "check", "--set", "latent.residency=gpu")
    assert code == 2 and "latent.residency = gpu, but training runs on the CPU" in err


def test_an_encoder_that_fails_is_one_clear_message(ups, targets, monkeypatch):
    broken = replace(targets[0], encode=lambda fields: targets[0].encode(fields) * float("nan"))
    monkeypatch.setattr(
        sys.modules["ups_engine.pipeline"], "cache_context", lambda *_: CacheContext((broken,), "x", "cpu", "auto")
    )
    code, _, err = ups("cache", "build")
    assert code == 1 and "non-finite latents for trajectory 1, frame 0" in err and "Traceback" not in err
