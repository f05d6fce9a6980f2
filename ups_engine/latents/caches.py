"""Interim."""

import time
from functools import partial

import numpy as np

from ups_engine.latents.build import build_target, prepare_target
from ups_engine.latents.in_use import InUse
from ups_engine.latents.residency import choose, gpu_free, open_latents, open_on_the_fly
from ups_engine.telemetry.gpu import gpu_devices
from ups_engine.telemetry.memory import available_memory


class _Seq:
    def __init__(self, reader, rows, frames):
        self.reader, self.rows, self.frames, self.ahead = reader, rows, frames, reader.ahead(rows, frames)

    def take(self, first, count, horizon):
        if self.ahead is not None:
            return self.ahead.take(first, count, horizon)
        p = slice(first, first + count)
        return self.reader.gather(self.rows[p], self.frames[p], horizon)


class LatentCaches:
    def __init__(self, targets, residency, device, working, *, tell, warn, advance, facts):
        self.t = {(t.member, t.split): t for t in targets}
        self.otf = residency == "on_the_fly"
        self.device, self.warn, self.facts_ = device, warn, facts
        self.complete = {}
        self.readers = {}
        self.claims = [InUse(t.path) for t in targets]
        for t in targets:
            if self.otf:
                c = prepare_target(t, warn).manifest.complete
            else:
                c = build_target(t, progress=partial(advance, f"encoding {t.split}"), warn=warn).complete
            self.complete[t.member, t.split] = c
        required = sum(4 * len(t.rows) * int(np.prod(t.shape)) for t in targets)
        self.chosen = choose(required, available_memory(), gpu_free(device, gpu_devices()), residency, working)
        tell(f"latent residency {self.chosen.choice}: {self.chosen.reason}")
        self.told = 0.0
        self.facts = {
            "residency": self.chosen.choice,
            "reason": self.chosen.reason,
            "samples": sum(len(t.rows) for t in targets),
            "bytes": required,
        }
        self.say()

    def say(self):
        self.told = time.monotonic()
        self.facts_({**self.facts, "complete": sum(self.complete.values())})

    def reader(self, member, split):
        k = member, split
        if k not in self.readers:
            t = self.t[k]
            if not self.otf:
                r = open_latents(t, self.chosen.choice, self.device, self.warn)
            else:

                def done(count):
                    self.complete[k] = count
                    if count == len(t.rows) or time.monotonic() - self.told >= 2:
                        self.say()

                r = open_on_the_fly(t, self.chosen.choice, self.device, self.warn, done)
            r.sequence = lambda rows, frames: _Seq(r, rows, frames)
            self.readers[k] = r
        return self.readers[k]

    def release(self):
        for r in self.readers.values():
            r.close()
        self.readers.clear()
