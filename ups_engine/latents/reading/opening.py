"""Opening a cache for training: what it lacks is completed while it is read.

To a reader a missing trajectory is a chunk that cannot be read, and encoding it is mending it. Whole blocks of the
store's grid are encoded, as a build does, and other builders and runs may share the work, so that neither the batches
nor the store can be told from those of a cache that was completed first.
"""

from collections.abc import Callable

import numpy as np
import torch

from ups_engine.latents.building.completion import Completion, prepare_target
from ups_engine.latents.reading.mapped import DiskLatents
from ups_engine.latents.reading.readers import LatentReader
from ups_engine.latents.reading.resident import CompletingLatents
from ups_engine.latents.residency import mapped_limit
from ups_engine.latents.store import LatentStore
from ups_engine.latents.target import CacheTarget, Choice
from ups_engine.reporting import Tell
from ups_engine.telemetry.memory import available_memory


def open_latents(
    target: CacheTarget,
    choice: Choice,
    device: torch.device,
    notify: Tell = lambda sentence: None,
    completed: Callable[[int], None] = lambda complete: None,
) -> LatentReader:
    """Open a cache. What is missing, or fails its checksum when it is first read, is encoded before it is used.

    Args:
        target: the cache.
        choice: where the latents live.
        device: where batches go.
        notify: told in a sentence about damage that was mended.
        completed: told how many trajectories are complete, at once and whenever more are.

    Raises:
        CacheError: the memory or the disk does not suffice, or damage cannot be mended.
        RunError: the disk refuses a write.
    """
    seen = prepare_target(target, notify)
    completed(seen.manifest.complete)
    repair, store = Completion(target, seen, notify, completed), LatentStore(target.path, target.layout)
    if choice == "disk":
        return DiskLatents(store, seen.manifest.checksums, device, mapped_limit(available_memory()), repair)
    home = device if choice == "gpu" else torch.device("cpu")
    latents = CompletingLatents(store, seen.manifest.checksums, home, device, repair)
    if not seen.complete:
        return latents
    latents.load(np.arange(len(target.rows)))
    return latents.memory
