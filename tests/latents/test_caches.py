"""A run's caches: completed at once or while they are read, claimed until closed, their state told."""

import numpy as np
import pytest
import torch
from toy_cache import FRAMES, toy_latents, toy_target

from ups_engine.latents.building.completion import build_target
from ups_engine.latents.checking.examine import RowState, examine
from ups_engine.latents.clear import clear_stores, find_stores
from ups_engine.stages.caches import LatentCaches
from ups_engine.stages.host import Host

CPU = torch.device("cpu")


@pytest.fixture
def targets(tmp_path):
    return [toy_target(tmp_path, samples=4), toy_target(tmp_path, samples=2, split="val")]


class Listener(Host):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.steps: list[tuple[str, int, int]] = []
        self.facts: list[dict[str, object]] = []

    def tell(self, sentence):
        self.told.append(sentence)

    def advance(self, what, done, total):
        self.steps.append((what, done, total))

    def caches(self, facts):
        self.facts.append(facts)


def caches_of(targets, residency, host=None):
    return LatentCaches(lambda: tuple(targets), residency, CPU, host or Host())


def everything(caches, target):
    rows = np.arange(len(target.rows))
    return caches.reader(*target.key).gather(rows, np.zeros_like(rows), FRAMES - 1)


def test_all_caches_are_completed_and_where_they_live_is_told_once(targets):
    host = Listener()
    caches = caches_of(targets, "ram", host)
    assert not host.told and not targets[0].path.exists(), "nothing is done before latents are asked for"
    for target in targets:
        assert torch.equal(everything(caches, target), toy_latents(target))
    assert host.told == ["latent residency ram: latent.residency = ram asks for it"]
    assert host.steps[-1] == ("encoding val", 2, 2) and ("encoding train", 4, 4) in host.steps
    size = 6 * FRAMES * 6 * 4 * 4
    reason = "latent.residency = ram asks for it"
    assert host.facts == [{"residency": "ram", "reason": reason, "samples": 6, "bytes": size, "complete": 6}]


def test_a_reader_is_opened_once_and_again_after_a_release(targets):
    caches, key = caches_of(targets, "ram"), ("toy", "val")
    first = caches.reader(*key)
    assert caches.reader(*key) is first
    caches.release()
    assert caches.reader(*key) is not first
    assert torch.equal(everything(caches, targets[1]), toy_latents(targets[1]))


def test_on_the_fly_nothing_is_encoded_before_it_is_asked_for(targets):
    build_target(targets[1])
    host = Listener()
    caches = caches_of(targets, "on_the_fly", host)
    caches.reader(*targets[0].key)
    assert examine(targets[0]).count(RowState.COMPLETE) == 0 and host.facts[0]["complete"] == 2
    assert torch.equal(everything(caches, targets[0]), toy_latents(targets[0]))
    assert host.facts[-1]["complete"] == 6 and examine(targets[0]).complete


def test_nobody_clears_them_while_they_may_be_asked_for_again(targets):
    caches, root = caches_of(targets, "disk"), targets[0].path.parent
    caches.reader(*targets[0].key)
    caches.release()
    assert len(clear_stores(find_stores(root)).kept) == 2
    del caches
    assert len(clear_stores(find_stores(root)).removed) == 2


def test_members_with_the_same_splits_are_kept_apart(tmp_path):
    one = toy_target(tmp_path / "a", samples=3)
    other = toy_target(tmp_path / "b", samples=3, seed=1, member="other")
    caches = caches_of([one, other], "ram")
    assert torch.equal(everything(caches, one), toy_latents(one))
    assert torch.equal(everything(caches, other), toy_latents(other))
