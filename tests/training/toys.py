"""A small regression trained by the real step loop, and ears for what the loop says."""

import torch
from torch import nn

from ups_engine.config.layers import load_settings
from ups_engine.losses.functions import mse
from ups_engine.losses.terms import LossBundle
from ups_engine.runs.resume import ResumeStore
from ups_engine.training.control import Action
from ups_engine.training.loop import Trainer
from ups_engine.training.task import Inputs, Task


class Regression(Task):
    """Fits a noisy target; can be told what its validation gives and at which steps its loss is not finite.

    Args:
        samples: of an epoch.
        noise: standard deviation of the noise on the input.
        scores: of the validations in turn; None computes them.
        broken: steps of the stage whose loss is NaN.
    """

    purposes = ("input", "size")

    def __init__(self, samples=96, noise=0.0, scores=None, broken=(), micro_batch=None):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 1))
        self.network.register_buffer("unit", torch.full((), 2.0))
        self.samples, self.micro_batch = (samples,), micro_batch
        self.x = torch.randn(samples, 4)
        self.y = self.x.prod(1, keepdim=True) + self.x[:, :1]
        self.noise, self.scores, self.broken = noise, scores, broken
        self.followed = torch.zeros(())
        self.batches, self.validated = [], []

    def prepare(self, batch):
        at = batch.moment
        self.batches.append((at.epoch, at.step, batch.numbers.tolist(), at.progress))
        tensors = {"x": self.x[batch.numbers], "y": self.y[batch.numbers]}
        return Inputs(tensors, batch.noise, form="broken" if at.total_step in self.broken else "sound")

    def loss(self, inputs):
        x = inputs["x"]
        if self.noise:
            drawn = inputs.noise
            x = x + self.noise * drawn.normal("input", tuple(x.shape)) * drawn.uniform("size", (len(x),))[:, None]
        loss = mse(self.network(x), inputs["y"])
        if inputs.form == "broken":
            loss = loss * torch.nan
        return LossBundle(loss, {"L_fit": loss.detach()})

    def validate(self, network):
        self.validated.append({name: value.clone() for name, value in network.state_dict().items()})
        if self.scores is not None:
            return {"score": self.scores[len(self.validated) - 1], "other": 7.0}
        return {"score": mse(network(self.x), self.y).item()}

    def after_step(self, taken):
        self.followed += taken * self.network[0].weight.detach().sum()

    def state(self):
        return {"followed": self.followed}


class Asked:
    """Answers a step boundary by its number; `snapshot`, which may be given later, is called at every one."""

    def __init__(self, answers=None, snapshot=lambda: None, crash_at=None):
        self.answers, self.snapshot, self.crash_at, self.count = answers or {}, snapshot, crash_at, 0

    held = 0.0

    def next_action(self, epoch, step):
        self.snapshot()
        self.count += 1
        if self.crash_at == self.count - 1:
            raise KeyboardInterrupt
        return self.answers.get(self.count - 1, Action.GO_ON)


class Events(list):
    """Keeps events as (kind, epoch, step, data)."""

    def __call__(self, kind, *, epoch=None, step=None, data=None):
        self.append((kind, epoch, step, dict(data or {})))

    def of(self, kind):
        return [event for event in self if event[0] == kind]


def settings(tmp_path, *overrides):
    """The stage's and the loop's settings, through all layers."""
    base = [
        "training.batch_size=16",
        "training.log_interval=1000",
        "training.checkpoint_interval=1000",
        "stages.autoencoder.epochs=4",
        "stages.autoencoder.optimizer.lr=0.001",
        "training.min_epoch_steps=1",
        "training.optimizer.weight_decay=0",
        "training.scheduler.warmup_epochs=0",
    ]
    found = load_settings(overrides=[*base, *overrides], folder=tmp_path, env={}, home=tmp_path).settings
    return found.stages.autoencoder, found.training


def saved(tmp_path):
    """The newest resumable state of the trainers of a folder."""
    return ResumeStore(tmp_path / "resume").load()


def trainer(tmp_path, task, *overrides, control=None, events=None, seed=0):
    stage, training = settings(tmp_path, *overrides)
    return Trainer(
        "autoencoder",
        task,
        stage,
        training,
        seed=seed,
        device=next(task.network.parameters()).device,
        resume=ResumeStore(tmp_path / "resume"),
        emit=Events() if events is None else events,
        control=control or Asked(),
    )


def weights(of):
    """All that a trainer leaves behind, by name."""
    network, averaged = of.network.state_dict(), of.averaged.state_dict()
    found = {**{f"network.{k}": v for k, v in network.items()}, **{f"averaged.{k}": v for k, v in averaged.items()}}
    return {name: value.clone() for name, value in found.items()}


def same_bits(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def furthest(one, other):
    return max((one[name] - other[name]).abs().max().item() for name in one)
