"""Ways in which a complete toy cache can be damaged, and what becomes of one: found, refused or mended, never used."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from toy_cache import FRAMES, files_of, toy_latents, toy_target

from ups_engine.errors import CacheError
from ups_engine.latents.building.completion import build_target
from ups_engine.latents.building.repair import repair_target
from ups_engine.latents.checking.examine import examine
from ups_engine.latents.reading.opening import open_latents
from ups_engine.latents.store import LatentStore, crc32c
from ups_engine.latents.target import CacheTarget

ROWS = 6
CPU = torch.device("cpu")
Damage = Callable[[CacheTarget, random.Random], str]
"""Damages a store and gives a word that the finding must hold."""


def _chunk(target: CacheTarget, row: int) -> Path:
    return LatentStore(target.path, target.layout).chunk(row)


def _flip(path: Path, pick: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[pick.randrange(len(data))] ^= 1 << pick.randrange(8)
    path.write_bytes(data)


def _reseal(target: CacheTarget, row: int, pick: random.Random) -> int:
    """Change a number of a chunk, as a broken script would, and give the chunk the checksum that goes with it."""
    numbers = np.fromfile(_chunk(target, row), dtype="<f4", count=target.layout.row_bytes // 4)
    numbers[pick.randrange(len(numbers))] += 1.0
    crc = crc32c(numbers)
    _chunk(target, row).write_bytes(numbers.tobytes() + crc.to_bytes(4, "little"))
    return crc


def _edit(path: Path, change: Callable[[dict], None]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record, indent=2) + "\n")


def _foreign(target: CacheTarget, **differing: object) -> CacheTarget:
    """Another complete store of the same shape."""
    other = toy_target(target.path.parent / "other", **{"samples": ROWS, "seed": 1, **differing})
    build_target(other)
    return other


def truncate(target: CacheTarget, pick: random.Random) -> str:
    row = pick.randrange(ROWS)
    with _chunk(target, row).open("r+b") as file:
        file.truncate(pick.randrange(1, target.layout.chunk_bytes))
    return f"trajectory {row} has the wrong size"


def empty(target: CacheTarget, pick: random.Random) -> str:
    row = pick.randrange(ROWS)
    _chunk(target, row).write_bytes(b"")
    return f"trajectory {row} has the wrong size"


def delete(target: CacheTarget, pick: random.Random) -> str:
    row = pick.randrange(ROWS)
    _chunk(target, row).unlink()
    return f"the file of trajectory {row} is missing"


def flip(target: CacheTarget, pick: random.Random) -> str:
    row = pick.randrange(ROWS)
    _flip(_chunk(target, row), pick)
    return f"trajectory {row}: its checksum fails"


def swap(target: CacheTarget, pick: random.Random) -> str:
    one, other = (_chunk(target, row) for row in pick.sample(range(ROWS), 2))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return "not the one recorded for this trajectory"


def alter_with_checksum(target: CacheTarget, pick: random.Random) -> str:
    row = pick.randrange(ROWS)
    _reseal(target, row, pick)
    return f"trajectory {row}: its file is intact, but it is not the one recorded"


def stale_fingerprint(target: CacheTarget, pick: random.Random) -> str:
    digest = f"{pick.getrandbits(256):064x}"
    _edit(target.path / "zarr.json", lambda record: record["attributes"].update(fingerprint=digest))
    return "its fingerprint is not the current one"


def store_of_another_encoder(target: CacheTarget, pick: random.Random) -> str:
    other = _foreign(target, seed=pick.randrange(1, 1000))
    shutil.rmtree(target.path)
    shutil.copytree(other.path, target.path)
    return "its fingerprint is not the current one (encoder differs)"


def wrong_dtype(target: CacheTarget, pick: random.Random) -> str:
    _edit(
        target.path / "latents/zarr.json",
        lambda record: record.update(data_type=pick.choice(["float64", "float16", "uint16"])),
    )
    return "latents/zarr.json says data_type"


def store_in_another_dtype(target: CacheTarget, pick: random.Random) -> str:
    other = _foreign(target, seed=0, dtype=pick.choice(["float16", "bfloat16"]))
    shutil.rmtree(target.path)
    shutil.copytree(other.path, target.path)
    return "(dtype differs)"


def missing_manifest(target: CacheTarget, pick: random.Random) -> str:
    (target.path / "manifest.json").unlink()
    return "manifest.json is missing or unreadable"


def torn_manifest(target: CacheTarget, pick: random.Random) -> str:
    text = (target.path / "manifest.json").read_text()
    (target.path / "manifest.json").write_text(text[: pick.randrange(len(text) - 2)])
    return "manifest.json is missing or unreadable"


def manifest_of_another_store(target: CacheTarget, pick: random.Random) -> str:
    other = _foreign(target, seed=pick.randrange(1, 1000))
    shutil.copy(other.path / "manifest.json", target.path)
    return "manifest.json belongs to another cache"


def flip_in_metadata(target: CacheTarget, pick: random.Random) -> str:
    names = ["zarr.json", "latents/zarr.json", "trajectories/zarr.json", "trajectories/c/0", "cond/zarr.json"]
    _flip(target.path / pick.choice([*names, "cond/nu/zarr.json", "cond/nu/c/0"]), pick)
    return ""


def flip_in_manifest(target: CacheTarget, pick: random.Random) -> str:
    _flip(target.path / "manifest.json", pick)
    return ""


def alter_and_record(target: CacheTarget, pick: random.Random) -> str:
    row = pick.randrange(ROWS)
    crc = _reseal(target, row, pick)

    def record_it(record: dict) -> None:
        record["crc32c"][row] = f"{crc:08x}"

    _edit(target.path / "manifest.json", record_it)
    return f"(trajectory {row}) differ from what is stored"


def encoded_by_other_weights(target: CacheTarget, pick: random.Random) -> str:
    """Every checksum holds and every record is the target's, yet the latents are another encoder's."""
    other = _foreign(target, seed=pick.randrange(1, 1000))
    record = json.loads((other.path / "manifest.json").read_text())
    for row in range(ROWS):
        shutil.copy(_chunk(other, row), _chunk(target, row))
    _edit(target.path / "manifest.json", lambda ours: ours.update(crc32c=record["crc32c"]))
    return "other weights or other code encoded them"


QUICK: tuple[Damage, ...] = (
    *(truncate, empty, delete, stale_fingerprint, store_of_another_encoder, wrong_dtype, store_in_another_dtype),
    *(missing_manifest, torn_manifest, manifest_of_another_store, flip_in_metadata),
)
"""Named by the quick check."""
DEEP: tuple[Damage, ...] = (flip, swap, alter_with_checksum, flip_in_manifest)
"""Named by the deep check at the latest, and found by training when it first reads a chunk."""
VOUCHED: tuple[Damage, ...] = (alter_and_record, encoded_by_other_weights)
"""Every record vouches for them: only encoding again finds them."""
KINDS = (*QUICK, *DEEP, *VOUCHED)


class Patient:
    """A sound store, copied for every damage."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sound = toy_target(folder / "sound", samples=ROWS)
        build_target(self._sound)
        self._files = files_of(self._sound.path)
        self._latents = toy_latents(self._sound)

    def suffer(self, damage: Damage, seed: int) -> None:
        """Damage a copy; see that the check names it, that repair mends it, and that training does not fall for it."""
        pick = random.Random(f"{damage.__name__}/{seed}")
        folder = self._folder / f"{damage.__name__}-{seed}"
        target = toy_target(folder, samples=ROWS)
        shutil.copytree(self._sound.path, target.path)
        words = damage(target, pick)
        damaged = files_of(target.path)

        quick, deep = examine(target), examine(target, deep=True)
        assert files_of(target.path) == damaged, "a check changed the store"
        assert not deep.complete and words in "; ".join(deep.findings)
        if damage in QUICK:
            assert not quick.complete and words in "; ".join(quick.findings)
        if damage not in VOUCHED:
            self._train(target, folder / "directly", pick, building=False)
            self._train(target, folder / "built", pick, building=True)

        mended = repair_target(target)
        assert mended.found.findings == deep.findings and words in mended.sentence()
        assert files_of(target.path) == self._files, "repair left other bytes than the first build"
        assert examine(target, deep=True).complete
        shutil.rmtree(folder)

    def _train(self, target: CacheTarget, folder: Path, pick: random.Random, *, building: bool) -> None:
        """Read the whole of a copy as training does: the right bits, or an error that names the store."""
        copy = toy_target(folder, samples=ROWS)
        shutil.copytree(target.path, copy.path)
        said: list[str] = []
        try:
            if building:
                build_target(copy, warn=said.append)
            reader = open_latents(copy, pick.choice(["ram", "disk"]), CPU, said.append)
        except CacheError as error:
            assert not building and str(copy.path) in error.message
            return
        got = reader.gather(np.arange(ROWS), np.zeros(ROWS, dtype=np.int64), FRAMES - 1)
        reader.close()
        assert torch.equal(got, self._latents)
        assert said or examine(target).damaged is False, "damage was mended without a word"
