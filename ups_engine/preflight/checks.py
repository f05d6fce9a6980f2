"""Every check of a run that is about to start, or to go on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ups_engine.config.schema import Settings
from ups_engine.data.seams import boundary_doubts
from ups_engine.data.sources.boundaries import boundary_sentence
from ups_engine.data.survey import MemberSurvey, survey_data
from ups_engine.errors import DataError, UpsError
from ups_engine.latents.checking.examine import RowState, examine
from ups_engine.latents.layout import Layout
from ups_engine.latents.location import cache_root
from ups_engine.pipeline.forecast import Forecast, cache_bytes
from ups_engine.pipeline.plan import EVALUATION, Past, check_needs, make_plan, running_stages
from ups_engine.pipeline.reopen import open_context
from ups_engine.pipeline.run import run_settings
from ups_engine.preflight.machine import check_gpu, check_memory, check_others
from ups_engine.preflight.places import Writing, check_disks, check_folder
from ups_engine.preflight.verdict import Check, Finding, Preflight, attempt, said
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.lease import owner_of
from ups_engine.runs.sidecars import has_result
from ups_engine.stages.registry import TRAINING_STAGES
from ups_engine.telemetry.gpu import gpu_devices
from ups_engine.telemetry.memory import available_memory
from ups_engine.telemetry.units import human_bytes
from ups_engine.training.machine import pick_device


def preflight(
    settings: Settings,
    resume: RunDirectory | None = None,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    folder: Path | None = None,
) -> Preflight:
    """Look at all that a run will need. Nothing is made or changed, and mistakes of the user are verdicts.

    Args:
        settings: of the new run; of one that goes on only `runs.root` counts.
        resume: the run that goes on.
        only: stages asked for, as for `run_pipeline`.
        skip: stages left out.
        folder: that the user chose for a new run.
    """
    root = Path(settings.runs.root)
    if resume is None:
        looking = _Looking(settings)
        first = attempt("folder", lambda: check_folder(root, settings.runs.name, folder))
        place = folder or root
    else:
        try:
            looking = _Looking(run_settings(resume), resume)
        except UpsError as problem:
            return Preflight((Check("settings", "bad", said(problem)),))
        first, place = attempt("folder", lambda: _check_run(resume)), resume.path
    checks = [attempt("stages", lambda: looking.stages(only, skip)), attempt("data", looking.data)]
    checks += [attempt("settings", looking.fit)] if looking.surveys else []
    checks += [first, attempt("gpu", looking.gpu)]
    if looking.forecast is not None:  # else sizes are anybody's guess
        checks += [attempt("cache", looking.cache), attempt("disk", lambda: looking.disk(place))]
        checks += [attempt("memory", looking.memory)] if looking.device is not None else []
    if (device := looking.device) is not None:
        checks.append(attempt("others", lambda: check_others(root, device, looking.gpus, resume)))
    return Preflight(tuple(checks))


def _check_run(run: RunDirectory) -> Finding:
    """Whether a run can be taken up."""
    owner = owner_of(run)
    if owner is not None and owner.alive:
        return (
            "bad",
            f"run {run.name} is at work already, pid {owner.pid} on {owner.host}: watch it with `ups tui {run.name}`",
        )
    return "good", f"run {run.name} in {run.path} goes on from what it saved last"


def _data_sentence(seen: MemberSurvey, root: str) -> str:
    """Whether data is there and its first and last values can be read, or how much will be made.

    Args:
        seen: the data.
        root: where files of it were looked for.

    Raises:
        DataError: values cannot be read, or are none.
    """
    info, splits, ends = seen.info, seen.splits, f"boundaries {boundary_sentence(seen.info.boundaries)}"
    if seen.to_make is not None:
        return (
            f"no files of {seen.name} are under {root}, so UPS solves it first: {info.trajectories} trajectories of"
            f" {info.frames} frames on {_size(info.resolution)} points, {human_bytes(info.bytes)}, {ends},"
            f" into {seen.to_make}"
        )
    _probe(seen)
    more = f" and {len(info.files) - 1} more" if len(info.files) > 1 else ""
    fields, points = "/".join(spec.name for spec in seen.fields), _size(seen.discretisation.shape)
    return (
        f"{_short(info.files[0])}{more} ({info.format}, {human_bytes(info.bytes)}) gives {fields} on"
        f" {points} points, {seen.frames} frames, dt {seen.dt:.4g}, {ends}; {len(splits.train)} trajectories"
        f" train, {len(splits.val)} validate, {len(splits.test)} test"
    )


def _size(shape: Sequence[int]) -> str:
    """Points per axis, such as `128x128`."""
    return "x".join(map(str, shape))


def _short(path: Path) -> str:
    """A path as one would type it in the working folder."""
    whole, here = path.absolute(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else path)


def _probe(seen: MemberSurvey) -> None:
    """Read a little from both ends: headers may promise what a torn download does not hold."""
    if seen.source is None:
        return
    rows, names = seen.splits.all(), [spec.name for spec in seen.fields]
    for row in {int(rows.min()), int(rows.max())}:
        values = seen.source.read([row], [0, seen.info.frames - 1], names)
        if not np.isfinite(values).all():
            file, number = seen.source.locate(row)
            raise DataError(
                f"{file.name}: trajectory {number} holds values that are not finite",
                f"leave it out with --set 'data.exclude=[{row}]'",
            )


class _Looking:
    """What is found out on the way from one check to the next.

    Args:
        settings: of the run.
        resume: the run that goes on.
    """

    def __init__(self, settings: Settings, resume: RunDirectory | None = None) -> None:
        self._settings, self._resume = settings, resume
        self._running: list[str] = []
        self._layouts: tuple[Layout, ...] = ()
        self._cached = 0
        self.gpus = gpu_devices()
        self.surveys: tuple[MemberSurvey, ...] = ()
        self.forecast: Forecast | None = None
        self.device: torch.device | None = None

    def stages(self, only: Sequence[str], skip: Sequence[str]) -> Finding:
        """Which stages will run, and whether each finds what it needs."""
        past = None if self._resume is None else Past(self._resume)
        plan = make_plan(self._settings, only=only, skip=skip, earlier=None if past is None else past.planned)
        self._running = running_stages(plan)
        check_needs(plan, self._resume)
        unmended = [] if past is None else past.unmended(plan)
        if past is not None and past.nothing_left(plan, only):
            return "warning", "; ".join([*unmended, "the run is finished already, and nothing is left to do"])
        done = [n for n in self._running if past is not None and past.done(n) and past.has_results(n)]
        if set(self._running) - set(done):
            done = [name for name in done if name != EVALUATION]  # it is done again after any other stage
        left = [
            stage.name if stage.name == EVALUATION else f"{stage.name} ({stage.epochs})"
            for stage in plan
            if stage.skip is None and stage.name not in done
        ]
        before = f"{', '.join(done)} done already; " if done else ""
        will = f"{before}will run {', '.join(left)}, epochs in brackets"
        again = [] if past is None else past.once_more(self._running)
        return "warning" if again or unmended else "good", "; ".join([will, *again, *unmended])

    def data(self) -> Finding:
        """Whether the data are there, readable and as expected."""
        self.surveys = survey_data(self._settings, None if self._resume is None else self._resume.data_record())
        found = [_data_sentence(survey, self._settings.data.root) for survey in self.surveys]
        if self._resume is not None:
            return "good", "; ".join(found)
        read = [(survey, survey.source) for survey in self.surveys if survey.source is not None]
        doubts = [doubt for survey, source in read for doubt in boundary_doubts(source, survey.splits.all())]
        notes = [note for survey, _ in read for note in survey.info.notes]
        return "warning" if doubts else "good", "; ".join([*found, *notes, *doubts])

    def fit(self) -> Finding:
        """Whether the settings go with the data."""
        self.forecast = Forecast(self._settings, self.surveys)
        self._layouts = self.forecast.layouts
        dim, tokens = self._settings.latent.dim, self.forecast.plan.grid
        return "good", f"{_size(tokens.shape)} points become {tokens.count} tokens of {dim} channels"

    def gpu(self) -> Finding:
        """Whether the device that trains is there and free."""
        self.device = pick_device(self._settings.runtime)
        return check_gpu(self.device, self.gpus, self._settings.runtime.device)

    def cache(self) -> Finding:
        """What state the latent caches are in."""
        if not any(TRAINING_STAGES[name].memory for name in self._running if name in TRAINING_STAGES):
            self._layouts = ()
            return "good", "none of the stages to run needs a latent cache"
        root, total = cache_root(self._settings), sum(layout.samples for layout in self._layouts)
        if self._resume is None or self._resume.data_record() is None or not has_result(self._resume, "encoder"):
            room = human_bytes(cache_bytes(self._layouts))
            return "good", f"made once the encoder is trained: {total} trajectories, {room} in {root}"
        # On the CPU: looking must not take GPU memory.
        runtime = self._settings.runtime.model_copy(update={"device": "cpu"})
        context = open_context(self._resume, self._settings.model_copy(update={"runtime": runtime}))
        found = [examine(target) for target in context.caches.targets()]
        self._cached = sum(examination.bytes_on_disk for examination in found if examination.usable)
        complete = sum(examination.count(RowState.COMPLETE) for examination in found)
        if complete == total:
            return "good", f"all {total} trajectories are encoded in {root}"
        damaged = sum(examination.count(RowState.CORRUPT) for examination in found)
        sentence = f"{complete} of {total} trajectories are encoded in {root}; training encodes the others first"
        return "warning" if damaged else "good", f"{damaged} damaged, {sentence}" if damaged else sentence

    def disk(self, place: Path) -> Finding:
        """Whether everything that the run writes has room, with its own folder at `place` or below."""
        assert self.forecast is not None
        writings = [Writing("checkpoints", place, self.forecast.checkpoint_bytes(self._running))]
        writings += [
            Writing("data", survey.to_make.parent, survey.info.bytes) for survey in self.surveys if survey.to_make
        ]
        latents = max(0, cache_bytes(self._layouts) - self._cached)
        return check_disks([*writings, Writing("latents", cache_root(self._settings), latents)])

    def memory(self) -> Finding:
        """Where the latents will live."""
        assert self.device is not None and self.forecast is not None
        required = sum(layout.memory_bytes for layout in self._layouts)
        working, forced = self.forecast.working_bytes(self.device), self._settings.latent.residency
        return check_memory(required, available_memory(), self.device, self.gpus, forced, working)
