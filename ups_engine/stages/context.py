"""What stages share: settings, data, device, the results of earlier stages, and the latent caches."""

import gc
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ups_engine.config.archive import settings_fingerprint
from ups_engine.config.schema import Settings
from ups_engine.data.dataset import FieldDataset
from ups_engine.data.generate.write import Advance
from ups_engine.data.pairs import LatentPairs
from ups_engine.data.splits import SPLITS, SplitName
from ups_engine.errors import CheckpointError
from ups_engine.evaluation.rollout import Noise
from ups_engine.latents.building.completion import build_target, prepare_target
from ups_engine.latents.claims import StoreClaim
from ups_engine.latents.fingerprint import fingerprint, hash_tensors
from ups_engine.latents.location import cache_root, store_path
from ups_engine.latents.reading.readers import LatentReader
from ups_engine.latents.residency import Residency, choose, gpu_free, open_latents, open_on_the_fly
from ups_engine.latents.target import CacheTarget, Choice
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.diffusion import ConsistencyResidual, DiffusionResidual
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.runs.checkpoints import load_result, save_result
from ups_engine.runs.directory import RunDirectory
from ups_engine.stages.networks import DEPENDS_ON, NetworkPlan, build, described, differences
from ups_engine.stages.working import working_memory
from ups_engine.telemetry.gpu import gpu_devices
from ups_engine.telemetry.memory import available_memory
from ups_engine.training.randomness import keys, normal

_TOLD_APART = 2.0  # s between words about caches that are completed while training

Module = TypeVar("Module", bound=nn.Module)


class StageContext:
    """A run's workplace.

    Args:
        settings: of the run.
        run: where results are.
        dataset: of the run.
        device: where networks live.
        notify: told a sentence that the user should read.
        warn: told about damage that was mended.
        progress: told how far slow work is; may raise to stop it.
        between: called where slow work may be held up or broken off.
        cached: told what is known of the latent caches; see heartbeats on the page of `ups_engine.runs.events`.
    """

    def __init__(
        self,
        settings: Settings,
        run: RunDirectory,
        dataset: FieldDataset,
        device: torch.device,
        *,
        notify: Callable[[str], None] = lambda sentence: None,
        warn: Callable[[str], None] = lambda sentence: None,
        progress: Advance = lambda what, done, total: None,
        between: Callable[[], None] = lambda: None,
        cached: Callable[[Mapping[str, object]], None] = lambda facts: None,
    ) -> None:
        self.settings, self.run, self.dataset, self.device = settings, run, dataset, device
        self.notify, self.warn, self.progress, self.between = notify, warn, progress, between
        self._cached = cached
        self.plan = NetworkPlan.of(settings, dataset)
        self._readers: dict[SplitName, LatentReader] = {}
        self._residency: Residency | None = None
        self._claims: list[StoreClaim] = []
        self._on_the_fly = settings.latent.residency == "on_the_fly"
        self._complete: dict[str, int] = {}  # trajectories, by split
        self._facts: dict[str, object] = {}
        self._told = 0.0

    def fresh(self, name: str, kind: type[Module]) -> Module:
        """A new network on the device, by the name of its result."""
        network = build(name, self.settings, self.plan)
        assert isinstance(network, kind), f"{name} is no {kind.__name__}"
        return network.to(self.device)

    def frozen(self, name: str, kind: type[Module]) -> Module:
        """A trained network on the device, not to be trained further.

        Raises:
            CheckpointError: it is missing, damaged, or was made with other settings.
        """
        network = self.fresh(name, kind)
        tensors, sidecar = load_result(self.run, name)
        differing = differences(sidecar.get("settings", {}), described(self.settings, name))
        if differing or sidecar.get("normalisation") != self.dataset.normalisation.to_json():
            raise CheckpointError(
                f"{self.run.checkpoints / name}.safetensors was made with other"
                f" {', '.join(differing) or 'normalisation of the data'}",
                "put the settings back, or train that stage again in a new run",
            )
        network.load_state_dict(tensors)
        return network.requires_grad_(False).eval()

    def save(self, name: str, network: nn.Module, stage: str, metrics: Mapping[str, float]) -> None:
        """Store a stage's result, replacing an earlier one."""
        sidecar = {
            "stage": stage,
            "settings_fingerprint": settings_fingerprint(self.settings, DEPENDS_ON[name]),
            "settings": described(self.settings, name),
            "normalisation": self.dataset.normalisation.to_json(),
            "metrics": dict(metrics),
        }
        save_result(self.run, name, network.state_dict(), sidecar)

    def surrogate(self, corrector: str | None = None) -> Surrogate:
        """The trained surrogate, on its own or with a corrector: `diffusion_residual_ema` or `consistency_ema`."""
        parts = (
            self.frozen("encoder", GridEncoder),
            self.frozen("decoder", GridDecoder),
            self.frozen("operator_ema", LatentOperator),
        )
        stages = self.settings.stages
        if corrector is None:
            return Surrogate(*parts).eval()
        temperature = stages.diff_residual.temperature
        if corrector == "diffusion_residual_ema":
            teacher, steps = self.frozen(corrector, DiffusionResidual), stages.diff_residual.sampling_steps
            return Surrogate(*parts, teacher, steps=steps, temperature=temperature).eval()
        student, steps = self.frozen(corrector, ConsistencyResidual), stages.consistency_distill.sampling_steps
        return Surrogate(*parts, student, steps=steps, temperature=temperature).eval()

    def noise(self, purpose: str) -> Noise:
        """Noise of predicted frames, a pure function of the seed, the purpose, the frame and the trajectory."""

        def draw(frame: int, trajectories: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
            key = keys(self.settings.seed, "evaluation", 0, range(frame, frame + 1), purpose)[0]
            return normal(key.to(self.device), (len(trajectories), *shape), trajectories)

        return draw

    def pairs(self, split: SplitName, horizon: int) -> LatentPairs:
        """Training pairs from the split's cache, which is completed first."""
        return LatentPairs(self.latents(split), self.dataset, split, horizon)

    def latents(self, split: SplitName) -> LatentReader:
        """The split's latents where they live while training.

        Raises:
            CacheError: the disk is too small, or a cache is damaged beyond repair.
        """
        if split not in self._readers:
            targets = {target.split: target for target in self.cache_targets()}
            if self._residency is None:
                self._claims = [StoreClaim(target.path) for target in targets.values()]  # between stages too
                self._residency = self._make_ready(list(targets.values()))
            self._readers[split] = self._open(targets[split], self._residency.choice)
        return self._readers[split]

    def _open(self, target: CacheTarget, choice: Choice) -> LatentReader:
        if not self._on_the_fly:
            return open_latents(target, choice, self.device, self.warn)

        def completed(count: int) -> None:
            self._complete[target.split] = count
            if count == len(target.rows) or time.monotonic() - self._told >= _TOLD_APART:
                self._tell_caches()

        return open_on_the_fly(target, choice, self.device, self.warn, completed)

    def cache_targets(self) -> tuple[CacheTarget, ...]:
        """The latent caches of all splits, with the run's encoder.

        Raises:
            CheckpointError: there is no encoder yet.
        """
        encoder = self.frozen("encoder", GridEncoder)
        return tuple(self._target(split, encoder, hash_tensors(encoder.state_dict())) for split in SPLITS)

    def _target(self, split: SplitName, encoder: GridEncoder, encoder_hash: str) -> CacheTarget:
        settings, dataset, grid = self.settings, self.dataset, self.plan.grid
        rows = dataset.splits.of(split)
        stamp = fingerprint(
            encoder=encoder_hash,
            source=dataset.identity(),
            fields=dataset.fields,
            split=split,
            rows=rows,
            normalisation=dataset.normalisation.to_json(),
            spatial_stride=settings.data.spatial_stride,
            time_stride=settings.data.time_stride,
            frames=dataset.frames,
            patch_size=grid.patch,
            tokens=grid.count,
            dim=settings.latent.dim,
            dtype=settings.latent.cache_dtype,
        )

        @torch.no_grad()
        def encode(fields: NDArray[np.float32]) -> torch.Tensor:
            u = dataset.normalisation.apply(torch.from_numpy(fields).to(self.device))
            latents: torch.Tensor = encoder(u.flatten(0, 1)).unflatten(0, u.shape[:2])
            return latents

        parameters = dataset.source.parameters(rows)
        return CacheTarget(
            split=split,
            path=store_path(cache_root(settings), dataset.task, split, stamp.digest),
            fingerprint=stamp,
            rows=rows,
            shape=(dataset.frames, grid.count, settings.latent.dim),
            dtype=settings.latent.cache_dtype,
            frame_bytes=4 * dataset.grid.points * dataset.channels,
            read=dataset.read,
            encode=encode,
            conditions={name: parameters[:, i] for i, name in enumerate(dataset.parameter_names)},
        )

    def _make_ready(self, targets: list[CacheTarget]) -> Residency:
        """Encode what the caches lack, or prepare for that, decide where they live, and say so."""
        for target in targets:
            if self._on_the_fly:
                complete = prepare_target(target, self.warn).manifest.complete
            else:
                encoding = partial(self.progress, f"encoding {target.split}")
                complete = build_target(target, progress=encoding, warn=self.warn).complete
            self._complete[target.split] = complete
        required = sum(4 * len(target.rows) * int(np.prod(target.shape)) for target in targets)
        free = gpu_free(self.device, gpu_devices())
        chosen = choose(required, available_memory(), free, self.settings.latent.residency, self.working)
        self.notify(f"latent residency {chosen.choice}: {chosen.reason}")
        self._facts = {
            "residency": chosen.choice,
            "reason": chosen.reason,
            "samples": sum(len(target.rows) for target in targets),
            "bytes": required,
        }
        self._tell_caches()
        return chosen

    def _tell_caches(self) -> None:
        self._told = time.monotonic()
        self._cached({**self._facts, "complete": sum(self._complete.values())})

    @property
    def working(self) -> int:
        """Bytes of GPU memory that the stages want beside the latents; 0 on the CPU."""
        return working_memory(self.settings, self.plan).bytes if self.device.type == "cuda" else 0

    def release(self) -> None:
        """Give back the caches' memory and what the last stage held on the device."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        if self.device.type == "cuda":  # a full collection takes a quarter of a second; main memory can wait for it
            gc.collect()
            torch.cuda.empty_cache()
