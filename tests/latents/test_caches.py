"""A run's caches: completed at once or while they are read, claimed until closed, their state told."""

import numpy as np
import pytest
import torch
from toy_cache import FRAMES, toy_latents, toy_target

from ups_engine.latents.building.completion import build_target
from ups_engine.latents.caches import LatentCaches
from ups_engine.latents.checking.examine import RowState, examine
from ups_engine.latents.clear import clear_stores, find_stores

CPU = torch.device("cpu")


@pytest.fixture
def targets(tmp_path):
    return [toy_target(tmp_path, samples=4), toy_target(tmp_path, samples=2, split="val")]


def everything(caches, target):
    rows = np.arange(len(target.rows))
    return caches.reader(target.key).gather(rows, np.zeros_like(rows), FRAMES - 1)


def test_all_caches_are_completed_and_where_they_live_is_told_once(targets):
    told, steps, facts = [], [], []
    caches = LatentCaches(
        targets, "ram", CPU, tell=told.append, advance=lambda *step: steps.append(step), facts=facts.append
    )
    assert told == ["latent residency ram: latent.residency = ram asks for it"]
    assert steps[-1] == ("encoding val", 2, 2) and ("encoding train", 4, 4) in steps
    size = 6 * FRAMES * 6 * 4 * 4
    reason = "latent.residency = ram asks for it"
    assert facts == [{"residency": "ram", "reason": reason, "samples": 6, "bytes": size, "complete": 6}]
    for target in targets:
        assert torch.equal(everything(caches, target), toy_latents(target))


def test_a_reader_is_opened_once_and_again_after_a_release(targets):
    caches, key = LatentCaches(targets, "ram", CPU), ("toy", "val")
    first = caches.reader(key)
    assert caches.reader(key) is first
    caches.release()
    assert caches.reader(key) is not first
    assert torch.equal(everything(caches, targets[1]), toy_latents(targets[1]))


def test_on_the_fly_nothing_is_encoded_before_it_is_asked_for(targets):
    build_target(targets[1])
    facts: list[dict[str, object]] = []
    caches = LatentCaches(targets, "on_the_fly", CPU, facts=facts.append)
    assert examine(targets[0]).count(RowState.COMPLETE) == 0 and facts[0]["complete"] == 2
    assert torch.equal(everything(caches, targets[0]), toy_latents(targets[0]))
    assert facts[-1]["complete"] == 6 and examine(targets[0]).complete


def test_nobody_clears_them_until_they_are_closed(targets):
    caches, root = LatentCaches(targets, "disk", CPU), targets[0].path.parent
    caches.release()
    assert len(clear_stores(find_stores(root)).kept) == 2
    caches.close()
    assert len(clear_stores(find_stores(root)).removed) == 2


def test_members_with_the_same_splits_are_kept_apart(tmp_path):
    one = toy_target(tmp_path / "a", samples=3)
    other = toy_target(tmp_path / "b", samples=3, seed=1, member="other")
    caches = LatentCaches([one, other], "ram", CPU)
    assert torch.equal(everything(caches, one), toy_latents(one))
    assert torch.equal(everything(caches, other), toy_latents(other))
