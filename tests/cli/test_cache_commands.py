"""`ups cache` over the caches of a real run, and what training does about damage to them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, train_tiny, working_folder

from ups_engine.pipeline.reopen import cache_context
from ups_engine.runs.checkpoints import load_result, save_result


@pytest.fixture
def train_store(copied):
    """The folder of the training split's cache."""
    (store,) = (copied.terminal.folder / "data/latent_cache").glob("burgers1d-train-*.zarr")
    return store


@pytest.fixture
def ups(copied):
    """Run `ups cache ...` in the run's working folder."""
    return lambda *arguments: copied.terminal.run("cache", *arguments)


def chunk(store: Path, row: int) -> Path:
    return store / f"latents/c.{row}.0.0.0"


def flip(path: Path, position: int = 40) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(100)


def test_after_a_run_its_caches_are_ready(ups, copied):
    done = ups("check", copied.path)
    assert done.code == 0
    assert done.err == f"caches of the encoder of run {copied.path.name} ({copied.path})\n"
    lines = done.out.splitlines()
    assert lines[0].split() == [
        "split",
        "samples",
        "complete",
        "missing",
        "stale",
        "corrupt",
        "on",
        "disk",
        "in",
        "RAM",
    ]
    assert [line.split()[:6] for line in lines[1:4]] == [
        ["train", "8", "8", "0", "0", "0"],
        ["val", "1", "1", "0", "0", "0"],
        ["test", "1", "1", "0", "0", "0"],
    ]
    said = " ".join(done.out.split())
    assert "Ready: all 10 trajectories are complete" in said and "of latents from RAM" in said


def test_json_is_all_that_stdout_carries_and_has_every_key(ups, copied):
    done = ups("check", copied.path, "--json", "--deep")
    report = json.loads(done.out)
    assert done.code == 0 and report["ready"] is True
    assert set(report) == {"splits", "ram", "gpu", "residency", "ready", "verdict"}
    assert report["verdict"].startswith("Ready: all 10 trajectories are complete (every checksum holds).")
    keys = {"name", "samples", "complete", "missing", "stale", "corrupt", "bytes_on_disk", "bytes_in_ram"}
    assert [set(split) for split in report["splits"]] == [keys] * 3
    assert set(report["ram"]) == {"available_bytes", "limit_source", "sufficient"} and report["ram"]["sufficient"]
    assert report["residency"]["choice"] == "ram" and "CPU" in report["residency"]["reason"]
    assert report["splits"][0]["bytes_in_ram"] == 8 * 6 * 4 * 4 * 4


def test_a_flipped_byte_needs_the_deep_check_and_a_truncated_chunk_does_not(ups, copied, train_store):
    flip(chunk(train_store, 3))
    assert ups("check", copied.path).code == 0
    done = ups("check", copied.path, "--deep")
    assert done.code == 1 and "trajectory 3: its checksum fails" in " ".join(done.out.split())
    cut(chunk(train_store, 5))
    done = ups("check", copied.path, "--json")
    report = json.loads(done.out)
    assert done.code == 1 and not report["ready"] and report["splits"][0]["corrupt"] == 1


def test_progress_comes_in_lines_as_far_apart_as_asked(ups, copied, train_store):
    shutil.rmtree(train_store.parent)
    done = ups("build", copied.path, "--interval", 0)
    assert done.code == 0 and "train: encoded 8/8, " in done.err and "\r" not in done.err
    done = ups("check", copied.path, "--deep", "--interval", 0)
    assert done.code == 0 and "verified 8/8, " in done.err


def test_building_mends_what_is_lost_and_can_be_bounded_to_a_split_and_a_number(ups, copied, train_store):
    shutil.rmtree(train_store.parent)
    done = ups("check", copied.path)
    assert done.code == 1 and "Not ready. train: there is no cache yet." in " ".join(done.out.split())
    done = ups("build", copied.path, "--split", "train", "--limit", 2, "--json")
    (split,) = json.loads(done.out)["splits"]
    assert done.code == 0 and (split["name"], split["complete"], split["built"]) == ("train", 2, 2)
    assert copied.terminal.folder / split["path"] == train_store and train_store.exists()
    done = ups("build", copied.path)
    assert done.code == 0 and done.out == "" and "train: 8 of 8 trajectories complete, 6 encoded in" in done.err
    assert "bound by " in done.err and "reading the source " in done.err
    assert ups("check", copied.path, "--deep").code == 0


def test_without_a_name_the_newest_run_whose_encoder_fits_is_meant_and_named(ups, copied):
    (copied.terminal.folder / "ups.toml").write_text(TINY + "[runs]\nroot = '.'\n")
    done = ups("check", "--preset", "smoke")
    assert done.code == 0 and f"encoder of run {copied.path.name}" in done.err
    done = ups("check", "--preset", "smoke", "--set", "latent.dim=6")
    assert done.code == 1 and "has an encoder that fits the current settings" in done.err and done.out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["check", "nobody"], 1, "there is no run nobody"),
        (["build", "run", "--split", "tset"], 2, "there is no split 'tset'"),
        (["check", "--preset", "smoke", "--set", "latent.residncy=ram"], 2, "latent.residncy"),
    ],
)
def test_mistakes_are_one_message(ups, arguments, code, message):
    done = ups(*arguments)
    assert done.code == code and done.out == "" and message in done.err and "Traceback" not in done.err


def test_another_seed_and_another_autoencoder_use_other_stores(copied, train_store):
    first = set(train_store.parent.glob("*.zarr"))
    for name, change in (("seed", "seed=1"), ("longer", "stages.autoencoder.epochs=1")):
        stages = ("--stage", "autoencoder", "--stage", "operator")
        run = train_tiny(copied.terminal, "--set", change, *stages, name=name)
        assert run.done.code == 0
        now = set(train_store.parent.glob("*.zarr"))
        assert len(now - first) == 3, "one store more for each split"
        first = now


def test_an_encoder_that_gives_nonsense_is_one_clear_message(ups, copied):
    tensors, sidecar = load_result(copied.directory, "encoder")
    del sidecar["sha256"], sidecar["bytes"], sidecar["format"]
    broken = {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()}
    save_result(copied.directory, "encoder", broken, sidecar)
    done = ups("build", copied.path)
    assert done.code == 1 and "non-finite latents for trajectory 2, frame 0" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("residency", ["ram", "disk"])
def test_training_encodes_a_damaged_chunk_again_with_a_word_and_comes_to_the_same_bits(finished, tmp_path, residency):
    run = train_tiny(
        working_folder(tmp_path / "work"),
        "--stage",
        "autoencoder",
        "--stage",
        "operator",
        "--set",
        f"latent.residency={residency}",
    )
    (store,) = (run.terminal.folder / "data/latent_cache").glob("burgers1d-train-*.zarr")
    flip(chunk(store, 3))
    cut(chunk(store, 5))
    done = run.resume("--stage", "steady_prior")
    assert done.code == 0
    warnings = [event["data"]["message"] for event in run.events() if event["kind"] == "warning"]
    assert warnings == [
        "train cache: the file of trajectory 5 has the wrong size; encoding again",
        "train cache: trajectory 3: its checksum fails; encoding again",
    ]
    assert all(f"warning: {warning}\n" in done.err for warning in warnings)
    assert run.checkpoints()["steady_prior.safetensors"] == finished.checkpoints()["steady_prior.safetensors"]
    assert run.terminal.run("cache", "check", run.path, "--deep").code == 0


def test_training_that_completes_its_caches_on_the_fly_comes_to_the_same_bits_and_stores(finished, tmp_path):
    terminal = working_folder(tmp_path / "work")
    run = train_tiny(terminal, "--set", "latent.residency=on_the_fly")
    assert run.done.code == 0
    assert "latent.residency = on_the_fly completes the caches while training" in run.done.err
    assert run.checkpoints() == finished.checkpoints()
    told = [event["data"]["cache"] for event in run.events() if "cache" in event["data"]]
    counts = [cache["complete"] for cache in told]
    assert counts[0] == 0 and counts == sorted(counts) and told[-1]["samples"] == 10
    ours, theirs = (folder / "data/latent_cache" for folder in (terminal.folder, finished.terminal.folder))
    chunks = {path.relative_to(ours): path.read_bytes() for path in ours.glob("*/latents/c.*")}
    assert len(chunks) == counts[-1] == 8, "validation and test read fields, not latents"
    assert all((theirs / name).read_bytes() == data for name, data in chunks.items())


def test_a_cache_context_holds_a_target_for_every_split(finished, monkeypatch):
    from ups_engine.config.layers import load_settings

    monkeypatch.chdir(finished.terminal.folder)
    context = cache_context(load_settings(preset="smoke", env={}).settings, str(finished.path))
    assert [len(target.rows) for target in context.targets] == [8, 1, 1]


def test_repair_says_what_was_wrong_and_encodes_that_alone(ups, copied, train_store):
    before = {path: path.read_bytes() for path in train_store.rglob("*") if path.is_file()}
    flip(chunk(train_store, 3))
    cut(chunk(train_store, 5))
    done = ups("check", copied.path, "--deep")
    assert done.code == 1 and "`ups cache repair` encodes again what is bad" in " ".join(done.out.split())
    done = ups("repair", copied.path, "--json")
    splits = {split["name"]: split for split in json.loads(done.out)["splits"]}
    assert done.code == 0 and (splits["train"]["corrupt"], splits["train"]["encoded"]) == (2, 2)
    assert splits["val"]["encoded"] == splits["test"]["encoded"] == 0
    assert "trajectory 3: its checksum fails: 2 of 8 trajectories encoded again." in done.err
    assert "val: all 1 trajectories are sound, nothing to mend." in done.err
    assert {path: path.read_bytes() for path in train_store.rglob("*") if path.is_file()} == before


def test_a_quick_repair_mends_what_the_quick_check_sees(ups, copied, train_store):
    flip(chunk(train_store, 3))
    cut(chunk(train_store, 5))
    done = ups("repair", copied.path, "--quick")
    assert done.code == 0 and "1 of 8 trajectories encoded again" in done.err
    assert ups("check", copied.path).code == 0 and ups("check", copied.path, "--deep").code == 1


def test_clear_asks_with_sizes_and_removes_the_caches_of_one_encoder(ups, copied, train_store):
    root = train_store.parent
    asked = ups("clear", copied.path)
    assert asked.code == 1 and "remove 3 caches, " in asked.err and "nothing was removed" in asked.err
    assert len(list(root.glob("*.zarr"))) == 3
    done = ups("clear", copied.path, "--yes", "--json")
    report = json.loads(done.out)
    assert done.code == 0 and len(report["removed"]) == 3 and not report["kept"] and report["bytes"] > 0
    assert not list(root.glob("*.zarr")) and "removed 3 caches" in done.err
    assert "there is nothing to remove" in ups("clear", copied.path, "--yes").err
    assert ups("build", copied.path).code == 0 and len(list(root.glob("*.zarr"))) == 3


def test_stale_caches_are_those_of_no_run_and_all_means_all(ups, copied, train_store):
    root = train_store.parent
    settings = ("--preset", "smoke", "--set", "runs.root=.")
    other = root / "burgers1d-train-0123456789ab.zarr"
    shutil.copytree(train_store, other)
    record = (other / "zarr.json").read_text()
    encoder = json.loads(record)["attributes"]["fingerprint_parts"]["encoder"]
    fingerprint = json.loads(record)["attributes"]["fingerprint"]
    (other / "zarr.json").write_text(record.replace(encoder, "1" * 64).replace(fingerprint, "0123456789ab" + "0" * 52))
    done = ups("clear", "--stale", "--yes", "--json", *settings)
    assert done.code == 0, done.err
    assert [Path(store["path"]).name for store in json.loads(done.out)["removed"]] == [other.name]
    assert ups("check", copied.path, "--deep").code == 0
    done = ups("clear", "--all", "--yes", *settings)
    assert done.code == 0 and "removed 3 caches" in done.err and not list(root.glob("*.zarr"))
    done = ups("clear", "--all", "--stale")
    assert done.code == 2 and "exclude each other" in done.err


def test_caches_that_a_live_run_reads_are_not_cleared(copied, train_store):
    from ups_engine.latents.claims import StoreClaim

    with StoreClaim(train_store):
        done = copied.terminal.run("cache", "clear", copied.path, "--yes")
    assert done.code == 1 and f"{train_store.name} stays: a live run or a build uses it" in done.err
    assert "removed 2 caches" in done.err and train_store.exists()
