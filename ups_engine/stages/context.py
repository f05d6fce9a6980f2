"""What stages share: settings, data, device, the results of earlier stages, and the latent caches."""

import gc
from collections.abc import Callable, Mapping
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
from ups_engine.latents.caches import LatentCaches
from ups_engine.latents.fingerprint import fingerprint, hash_tensors
from ups_engine.latents.location import cache_root, store_path
from ups_engine.latents.reading.readers import LatentReader
from ups_engine.latents.target import CacheTarget
from ups_engine.models.decoder import GridDecoder
from ups_engine.models.diffusion import ConsistencyResidual, DiffusionResidual
from ups_engine.models.encoder import GridEncoder
from ups_engine.models.operator import LatentOperator
from ups_engine.models.surrogate import Surrogate
from ups_engine.runs.checkpoints import load_result, save_result
from ups_engine.runs.directory import RunDirectory
from ups_engine.stages.networks import DEPENDS_ON, NetworkPlan, build, described, differences
from ups_engine.stages.working import working_memory
from ups_engine.training.randomness import keys, normal

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
        self._caches: LatentCaches | None = None

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
        if self._caches is None:
            self._caches = LatentCaches(
                self.cache_targets(),
                self.settings.latent.residency,
                self.device,
                self.working,
                tell=self.notify,
                warn=self.warn,
                advance=self.progress,
                facts=self._cached,
            )
        return self._caches.reader((self.dataset.task, split))

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
            member=dataset.task,
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

    @property
    def working(self) -> int:
        """Bytes of GPU memory that the stages want beside the latents; 0 on the CPU."""
        return working_memory(self.settings, self.plan).bytes if self.device.type == "cuda" else 0

    def release(self) -> None:
        """Give back the caches' memory and what the last stage held on the device."""
        if self._caches is not None:
            self._caches.release()
        if self.device.type == "cuda":  # a full collection takes a quarter of a second; main memory can wait for it
            gc.collect()
            torch.cuda.empty_cache()
