"""Clearing removes whole caches that nobody uses, and nothing else."""

import multiprocessing
import shutil
from pathlib import Path

import pytest
from toy_cache import files_of, toy_target

from ups_engine.latents.building.completion import build_target
from ups_engine.latents.claims import StoreClaim, StoreLock
from ups_engine.latents.clear import clear_stores, find_stores, stale_stores

SPAWN = multiprocessing.get_context("forkserver")


def names(root: Path) -> list[str]:
    return [store.path.name for store in find_stores(root)]


def hold(kind: str, store: Path, ready, done) -> None:
    """In a process of its own: use a store as a run or as a builder does."""
    if kind == "run":
        claim = StoreClaim(store)
    else:
        claim = StoreLock(store)
        assert claim.claim(3)
    ready.set()
    done.wait(30)
    del claim


@pytest.fixture
def store(tmp_path):
    target = toy_target(tmp_path / "caches")
    build_target(target)
    return target.path


def test_a_cache_goes_whole_with_what_is_left_of_an_earlier_removal(store):
    shutil.copytree(store, store.with_name(f".{store.name}.partial"))
    (found,) = find_stores(store.parent)
    assert found.bytes == 2 * sum(map(len, files_of(store).values()))
    cleared = clear_stores([found])
    assert cleared.removed == (found,) and not cleared.kept
    assert not store.exists() and find_stores(store.parent) == ()
    assert all(path.name.endswith((".lock", ".users")) and not path.stat().st_size for path in store.parent.iterdir())


def test_the_rest_of_a_removal_that_was_broken_off_is_found(store):
    store.rename(store.with_name(f".{store.name}.partial"))
    assert names(store.parent) == [store.name]
    clear_stores(find_stores(store.parent))
    assert not store.with_name(f".{store.name}.partial").exists()


@pytest.mark.parametrize("damage", ["zarr.json", "manifest.json", "both"])
def test_a_damaged_cache_is_recognised_all_the_same(store, damage):
    for name in ("zarr.json", "manifest.json") if damage == "both" else (damage,):
        (store / name).write_text("{")
    assert names(store.parent) == [store.name]


def test_links_and_foreign_folders_are_passed_over_and_links_are_not_followed(store, tmp_path):
    root, elsewhere = store.parent, tmp_path / "elsewhere"
    shutil.copytree(store, elsewhere / "kept.zarr")
    (root / "toy-val-0123456789ab.zarr").symlink_to(elsewhere / "kept.zarr")
    (root / "toy-test-0123456789ab.zarr").mkdir()
    (root / "toy-test-0123456789ab.zarr/notes.txt").write_text("mine")
    shutil.copytree(store, root / "results.zarr")
    (store / "latents/linked").symlink_to(elsewhere)
    kept = files_of(elsewhere)
    clear_stores(find_stores(root))
    assert files_of(elsewhere) == kept and not store.exists()
    left = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    assert left == {"toy-val-0123456789ab.zarr", "toy-test-0123456789ab.zarr", "results.zarr"}


@pytest.mark.parametrize("kind", ["run", "builder"])
def test_what_another_process_uses_stays_and_is_named(store, kind):
    ready, done = SPAWN.Event(), SPAWN.Event()
    user = SPAWN.Process(target=hold, args=(kind, store, ready, done), daemon=True)
    user.start()
    try:
        assert ready.wait(30)
        before = files_of(store)
        cleared = clear_stores(find_stores(store.parent))
        assert [reason for _, reason in cleared.kept] == ["a live run or a build uses it"] and not cleared.removed
        assert files_of(store) == before
    finally:
        done.set()
        user.join(30)
    assert clear_stores(find_stores(store.parent)).removed and not store.exists()


def test_what_this_process_uses_stays_until_the_last_claim_is_given_back(store):
    one, other = StoreClaim(store), StoreClaim(store)
    one.close()
    assert clear_stores(find_stores(store.parent)).kept
    other.close()
    assert clear_stores(find_stores(store.parent)).removed


def test_a_store_that_is_cleared_under_a_claimless_reader_is_built_again_with_the_same_bytes(store):
    before = files_of(store)
    clear_stores(find_stores(store.parent))
    build_target(toy_target(store.parent))
    assert files_of(store) == before


def test_stale_is_what_neither_a_fingerprint_nor_an_encoder_claims(tmp_path):
    targets = [toy_target(tmp_path, seed=seed, samples=2) for seed in range(3)]
    for target in targets:
        build_target(target)
    encoder = targets[1].fingerprint.parts["encoder"]
    found = stale_stores(find_stores(tmp_path), {targets[0].fingerprint.digest}, {encoder})
    assert [store.path for store in found] == [targets[2].path]


def test_a_folder_that_is_not_there_holds_no_caches(tmp_path):
    assert find_stores(tmp_path / "nowhere") == ()
