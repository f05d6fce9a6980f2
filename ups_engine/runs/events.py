"""The history of a run, `events.jsonl`: one writer appends, any number of readers follow.

Every line is one strict JSON object `{"seq", "time", "kind", "stage", "epoch", "step", "data"}`, in this order and
without blanks, ended by a line feed; a last line without one is torn and no event yet. Whole lines stay as they are.

- `seq` counts events from 1, without a gap and across all processes that a run has seen.
- `time` is UNIX time in seconds.
- `stage` is null outside stages. `epoch` counts from 0 and is the epoch that the event belongs to; `step` is the
  number of optimiser steps that the stage has done so far. Either is null where it says nothing.

What `data` holds, by kind. A key with `?` may be absent; a number that is not finite is null; scores and losses are
lower when better.

- run_started: `stages: [{name, epochs}]` in the order planned, `device?`, `format`: version of this page that the
  events from here on keep to, 1 where it is absent; a reader refuses a later one than it knows
- run_resumed: `after: "restart" or "pause"`; `stage, epoch, step` to go on from. The first `epoch` epochs and `step`
  steps of `stage` stand and whatever the log says beyond them is done again. A null `stage` means that no resumable
  state was found: a stage that had begun begins anew. `stages?` as in run_started, for a plan that has changed;
  `format` likewise
- stage_started: `epochs`. The event's own `epoch` and `step` say where it begins, when not at 0
- step: `loss, lr, grad_norm?, components?: {name: loss}, throughput?` in samples per second
- epoch, when one is complete: `loss, best, lr?, grad_norm?, seconds?, epoch_seconds?, components?, throughput?,
  since_best?`, where `best` is the best validation score so far or null, `since_best` the epochs without a better one,
  and `seconds` those since the stage began
- validation: `score, best, metrics?: {name: value}`
- checkpoint: `files: [name]` of the results written, or `resume: number` of the resumable state
- command: `id, command, outcome: "done" or "refused", reason?`
- warning: `message, hint?`
- stage_finished: `best, seconds, reason?` why it ended before its last epoch
- stage_skipped: `reason`
- evaluation: `selected, variants: {name: {...}}` as in reports/evaluation.json, without the long lists
- run_paused: nothing
- run_finished: `outcome: "finished" or "stopped" or "parked"`
- run_failed: `error, hint?`
- heartbeat: `ram_bytes` of the run's process; `ram_available_bytes?, ram_total_bytes?` under the tightest limit, which
  `ram_limit?` names; `cpu_percent?` of the process, 100 being one core; `gpu: [{index, name, used_bytes, total_bytes,
  run_bytes?, utilisation, temperature, power}]` with `run_bytes` taken by this run; `throughput?` in samples
  per second, null while paused
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Self, get_args

from ups_engine.errors import RunError
from ups_engine.runs import strict_json
from ups_engine.runs.atomic import explaining_disk_errors, fsync
from ups_engine.runs.event_file import FORMAT, FORMAT_KINDS, find_last

Kind = Literal[
    "run_started",
    "run_resumed",
    "stage_started",
    "step",
    "epoch",
    "validation",
    "checkpoint",
    "command",
    "warning",
    "stage_finished",
    "stage_skipped",
    "evaluation",
    "run_paused",
    "run_finished",
    "run_failed",
    "heartbeat",
]
KINDS: frozenset[str] = frozenset(get_args(Kind))
_OF_A_STAGE = frozenset({"stage_started", "step", "epoch", "validation", "stage_finished", "stage_skipped"})

STEPS_PER_SECOND = 10
_STEP_INTERVAL = 1 / (STEPS_PER_SECOND - 1)  # leaves room for a held-back step before another kind


class EventWriter:
    """The one appender of a run's history; safe to use from several threads.

    Opening cuts what a killed writer left torn at the end and counts on from the last whole event. Step events are
    thinned to ten a second; the latest that was held back is still written before an event of another kind.

    Args:
        path: of events.jsonl; made when absent. The caller holds the run's lease.

    Raises:
        RunError: the file holds something else, or the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._held_back: tuple[float, str] | None = None  # time and tail of a step event
        self._step_times: deque[float] = deque(maxlen=STEPS_PER_SECOND)
        with explaining_disk_errors(path):
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                last, self._end = find_last(path)
                os.ftruncate(self._file, self._end)
                fsync(path.parent)
            except BaseException:
                os.close(self._file)
                raise
        self._seq = last.seq if last else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def emit(
        self,
        kind: Kind,
        *,
        stage: str | None = None,
        epoch: int | None = None,
        step: int | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Append an event; durably, unless it is a step or a heartbeat.

        Args:
            kind: one of `KINDS`.
            stage: needed by events of a stage.
            epoch: counted from 0.
            step: optimiser steps of the stage done so far.
            data: see the module's page; numbers that are not finite become null.

        Raises:
            RunError: the disk is full or refuses; the history is as it was before.
            ValueError, TypeError: the event is not one of the page's, or its data are not JSON.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown kind of event: {kind!r}")
        if kind in _OF_A_STAGE and stage is None:
            raise ValueError(f"a {kind} event needs its stage")
        if kind in FORMAT_KINDS:
            data = {**(data or {}), "format": FORMAT}
        tail = strict_json.dumps({"stage": stage, "epoch": epoch, "step": step, "data": data or {}})[1:]
        with self._lock:
            now = time.time()
            if kind != "step":
                self._append_held_back()
                self._append(now, kind, tail, durable=kind != "heartbeat")
            elif self._step_times and time.monotonic() - self._step_times[-1] < _STEP_INTERVAL:
                self._held_back = (now, tail)
            else:
                self._append_step(now, tail)

    def close(self) -> None:
        """Write what was held back, sync, and close the file; closing again does nothing."""
        with self._lock:
            if self._file < 0:
                return
            try:
                self._append_held_back()
                with explaining_disk_errors(self._path):
                    os.fsync(self._file)
            finally:
                os.close(self._file)
                self._file = -1

    def _append_held_back(self) -> None:
        held_back, self._held_back = self._held_back, None
        times = self._step_times
        within_limit = len(times) < STEPS_PER_SECOND or time.monotonic() - times[0] >= 1.0
        if held_back and within_limit:
            self._append_step(*held_back)

    def _append_step(self, when: float, tail: str) -> None:
        self._held_back = None
        self._step_times.append(time.monotonic())
        self._append(when, "step", tail, durable=False)

    def _append(self, when: float, kind: str, tail: str, *, durable: bool) -> None:
        line = f'{{"seq":{self._seq + 1},"time":{when:.6f},"kind":"{kind}",{tail}\n'.encode()
        with explaining_disk_errors(self._path):
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(self._file, rest) :]
            except OSError:
                with suppress(OSError):  # leave no torn line in front of the next one
                    os.ftruncate(self._file, self._end)
                raise
            self._end += len(line)
            self._seq += 1
            if durable:
                os.fsync(self._file)


@contextmanager
def heartbeat(writer: EventWriter, sample: Callable[[], Mapping[str, object]], interval: float = 2.0) -> Iterator[None]:
    """Emit a heartbeat at once and then regularly from a thread, as long as the block lasts, pauses included.

    Args:
        writer: of the run.
        sample: gives the heartbeat's data; called in the thread. What it raises is reported in the heartbeat, so
            that a failing sensor never makes a live run look lost.
        interval: seconds.
    """
    ended = threading.Event()

    def beat() -> None:
        due = time.monotonic()
        while not ended.wait(max(0.0, due - time.monotonic())):
            try:
                data = sample()
            except Exception as error:
                data = {"error": f"{type(error).__name__}: {error}"}
            with suppress(RunError):  # a full disk is the training's to report; the next beat may get through
                writer.emit("heartbeat", data=data)
            due = max(due + interval, time.monotonic())

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
