"""The one step loop of all stages.

Order of the data and all noise are pure functions of (seed, stage, epoch, step), so a resumed stage needs the network,
the optimiser, the moving average and a few counters, and ends with the very bits of an uninterrupted one. Losses stay
on the device until the logging interval is over.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any, Protocol

import torch
from torch import Tensor

from ups_engine.config.stages import StageSettings
from ups_engine.config.training import TrainingSettings
from ups_engine.losses.terms import LossBundle
from ups_engine.runs.events import Kind
from ups_engine.runs.resume import ResumeStore
from ups_engine.training.batches import Batches
from ups_engine.training.control import Action, Control, StageEnd
from ups_engine.training.ema import EMA
from ups_engine.training.guard import NonFiniteGuard
from ups_engine.training.machine import prepare_network, undo_compilation
from ups_engine.training.optimiser import build_optimiser
from ups_engine.training.readings import Readings
from ups_engine.training.schedule import LearningRate
from ups_engine.training.state import LoopState, clone, pack_optimiser, prefixed, under, unpack_optimiser
from ups_engine.training.task import Batch, Moment, Task


class Emit(Protocol):
    """Writes an event of this stage; see `ups_engine.runs.events`."""

    def __call__(
        self, kind: Kind, *, epoch: int | None = None, step: int | None = None, data: Mapping[str, object] | None = None
    ) -> object:
        """Write it."""


class Trainer:
    """Trains one stage.

    Args:
        name: of the stage.
        task: what is trained.
        stage: the stage's settings.
        training: settings shared by all stages.
        seed: of the run.
        device: where the task's network lives.
        resume: the run's resumable states.
        emit: writes events of the stage.
        control: asked at every step boundary.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        stage: StageSettings,
        training: TrainingSettings,
        *,
        seed: int,
        device: torch.device,
        resume: ResumeStore,
        emit: Emit,
        control: Control,
    ) -> None:
        self._name, self._task, self._stage, self._training = name, task, stage, training
        self._seed, self._device, self._resume, self._emit, self._control = seed, device, resume, emit, control
        self.network = task.network
        self.averaged = EMA(self.network, stage.ema_decay)
        prepare_network(self.network, training, device)
        self._optimiser = build_optimiser(stage.optimizer, self.network.parameters())
        self._batches = Batches(
            name,
            task,
            seed=seed,
            size=stage.batch_size,
            accumulated=stage.accum_steps,
            least_steps=training.min_epoch_steps,
            device=device,
        )
        self._steps_per_epoch = self._batches.steps
        self._epochs, self._enough = task.effort(stage.epochs)
        self._steps = self._epochs * self._steps_per_epoch
        if stage.max_steps is not None:
            self._steps = min(self._steps, stage.max_steps)
        epochs = self._steps / self._steps_per_epoch
        self._rate = LearningRate(stage.scheduler, self._optimiser, epochs, self._steps_per_epoch)
        self._guard = NonFiniteGuard(self._optimiser, training.nonfinite_limit, device)
        self._at = LoopState()
        self._best: dict[str, Tensor] = {}
        self._readings = Readings(self._now, device)
        self._began = self._saved = self._now()

    def run(self, state: tuple[dict[str, Tensor], dict[str, Any]] | None = None) -> StageEnd:
        """Train to the end, or until asked to leave; then network and average hold the best weights.

        Args:
            state: the resumable state to go on from.

        Raises:
            TrainingError: the loss stays non-finite.
            RunError: the disk refuses a resumable state.
        """
        if state is not None:
            self._load(*state)
        p, reason = self._at, None
        while p.epoch < self._epochs and reason is None:
            action = self._epoch()
            if action in (Action.LEAVE, Action.SKIP_STAGE):
                self._count_time()
                return StageEnd(action, p)
            finished = "asked to finish" if action is Action.FINISH_STAGE else None
            reason = finished if finished and p.step == 0 and self._best else self._close_epoch(finished)
        if self._best:
            self.network.load_state_dict(under("network", self._best))
            self.averaged.load_state_dict(under("averaged", self._best))
        self._count_time()
        return StageEnd(Action.GO_ON, p, reason or self._enough)

    def _now(self) -> float:
        """A clock that stands still while the run is paused."""
        return time.monotonic() - self._control.held

    def _count_time(self) -> None:
        now = self._now()
        self._at.seconds, self._began = self._at.seconds + now - self._began, now

    def _epoch(self) -> Action:
        """Take the epoch's remaining steps."""
        p = self._at
        self._batches.begin_epoch(p.epoch)
        while p.step < self._steps_per_epoch and not self._out_of_steps():
            action = self._control.next_action(p.epoch, p.total_step)
            if action in (Action.SAVE, Action.LEAVE):
                self._save()
            if action is Action.SAVE:
                continue
            if action is not Action.GO_ON:
                return action
            self._step()
            if self._now() - self._readings.since >= self._training.log_interval:
                self._log_step()
            elif self._readings.full:
                self._read()
            if self._now() - self._saved >= self._training.checkpoint_interval:
                self._save()
        return Action.GO_ON

    def _out_of_steps(self) -> bool:
        return self._stage.max_steps is not None and self._at.total_step >= self._stage.max_steps

    def _step(self) -> None:
        p = self._at
        self._rate.step(p.total_step)
        self._optimiser.zero_grad(set_to_none=True)
        loss, components, samples = self._accumulate()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._stage.grad_clip or float("inf"))
        taken = self._guard.watch(loss, norm)
        self._optimiser.step()
        self.averaged.update(taken)
        self._task.after_step(taken)
        self._readings.write(loss, norm, self._guard.skipped, components)
        self._readings.count(p.epoch, p.step, samples)
        p.step, p.total_step = p.step + 1, p.total_step + 1

    def _accumulate(self) -> tuple[Tensor, dict[str, Tensor], int]:
        """Add up the gradient of the mean loss over a step's samples, batch by batch.

        Returns:
            The loss, its components, and the number of samples.
        """
        p = self._at
        parts, samples = [], 0
        for share, batch in self._batches.of_step(Moment(p.epoch, p.step, p.total_step, p.total_step / self._steps)):
            parts.append((share, self._backward(batch, share)))
            samples += len(batch)
        loss = torch.stack([share * bundle.total.detach() for share, bundle in parts]).sum()
        names = parts[0][1].components
        components = {
            name: torch.stack([share * bundle.components[name] for share, bundle in parts]).sum() for name in names
        }
        return loss, components, samples

    def _backward(self, batch: Batch, share: float) -> LossBundle:
        inputs = self._task.prepare(batch)
        try:
            bundle = self._task.loss(inputs)
        except Exception as error:
            if not self._training.compile or not type(error).__module__.startswith(
                ("torch._dynamo", "torch._inductor")
            ):
                raise
            reason = str(error).strip().splitlines()[0]
            self._emit("warning", data={"message": f"compiling failed, going on without: {reason}"})
            undo_compilation(self.network)
            bundle = self._task.loss(inputs)
        (share * bundle.total).backward()
        return bundle

    def _read(self) -> None:
        """Bring the losses since the last reading from the device into the state; report skipped steps."""
        p, taken = self._at, self._readings.take()
        for reading in taken:
            if isfinite(reading.loss):
                p.loss_sum, p.loss_count = p.loss_sum + reading.loss, p.loss_count + 1
        p.in_a_row = self._guard.judge(taken, p.in_a_row, self._report_skipped)

    def _report_skipped(self, epoch: int, step: int) -> None:
        samples = self._batches.describe(epoch, step)
        message = f"the loss of epoch {epoch} step {step} was not finite, the step was skipped; its batch: {samples}"
        self._emit("warning", epoch=epoch, step=epoch * self._steps_per_epoch + step, data={"message": message})

    def _log_step(self) -> None:
        latest = self._readings.latest()
        self._read()
        p = self._at
        data = {**latest, "lr": self._rate.current, "epoch_steps": self._steps_per_epoch}
        self._emit("step", epoch=p.epoch, step=p.total_step, data=data)

    def _close_epoch(self, reason: str | None) -> str | None:
        """Validate, keep the best, tell; returns why the stage ends here, if it does."""
        p = self._at
        latest = self._readings.latest()
        self._read()
        last = reason is not None or p.epoch + 1 == self._epochs or self._out_of_steps()
        due = last or (p.epoch + 1) % self._training.validation_interval == 0
        score = self._validate() if due else None
        self._readings.since = self._now()  # the throughput is of training: validating takes no samples
        loss = p.mean_loss()
        data = {**latest, "loss": loss, "best": p.best, "lr": self._rate.current, "since_best": p.since_best}
        self._count_time()
        times = {"seconds": p.seconds, "epoch_seconds": p.seconds - p.epoch_began}
        self._emit("epoch", epoch=p.epoch, step=p.total_step, data={**data, **times})
        self._rate.epoch_end(score)
        if reason is None:
            reason = self._task.ends_early(loss)
        if reason is None and self._stage.patience is not None and p.since_best >= self._stage.patience:
            reason = f"no better validation for {p.since_best} epochs"
        if reason is None and self._out_of_steps() and p.epoch + 1 < self._epochs:
            reason = f"{self._stage.max_steps} steps done"
        p.epoch, p.step, p.loss_sum, p.loss_count, p.epoch_began = p.epoch + 1, 0, 0.0, 0, p.seconds
        return reason

    @torch.no_grad()
    def _validate(self) -> float:
        """Judge the moving average, keep it where it is the best so far; returns the score."""
        p = self._at
        metrics = dict(self._task.validate(self.averaged.module))
        score = metrics["score"]
        if isfinite(score) and (p.best is None or score < p.best):
            p.best, p.best_metrics, p.best_epoch, p.since_best = score, metrics, p.epoch, 0
            self._best = clone(self._weights())
        else:
            p.since_best = p.epoch - (-1 if p.best_epoch is None else p.best_epoch)
        self._emit(
            "validation",
            epoch=p.epoch,
            step=p.total_step,
            data={"score": score, "best": p.best, "metrics": {k: v for k, v in metrics.items() if k != "score"}},
        )
        return score

    def _weights(self) -> dict[str, Tensor]:
        network, averaged = self.network.state_dict(), self.averaged.state_dict()
        return {**prefixed("network", network), **prefixed("averaged", averaged)}

    def _save(self) -> None:
        self._read()
        p = self._at
        self._count_time()
        tensors = {
            **prefixed("now", self._weights()),
            **prefixed("best", self._best),
            **prefixed("optimiser", pack_optimiser(self._optimiser)),
            **prefixed("task", self._task.state()),
        }
        state = {"stage": self._name, "progress": asdict(p), "rate": self._rate.state_dict()}
        number = self._resume.save(tensors, state)
        self._saved = self._readings.since = self._now()
        self._emit("checkpoint", epoch=p.epoch, step=p.total_step, data={"resume": number})

    def _load(self, tensors: dict[str, Tensor], state: Mapping[str, Any]) -> None:
        now = under("now", tensors)
        self.network.load_state_dict(under("network", now))
        self.averaged.load_state_dict(under("averaged", now))
        self._best = {name: value.to(self._device) for name, value in under("best", tensors).items()}
        unpack_optimiser(self._optimiser, under("optimiser", tensors))
        own = self._task.state()
        for name, value in under("task", tensors).items():
            own[name].copy_(value)
        self._at = LoopState(**state["progress"])
        self._rate.load_state_dict(state["rate"])
