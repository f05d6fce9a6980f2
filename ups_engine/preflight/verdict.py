"""The outcome of looking: verdicts, each explained in one sentence."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from ups_engine.errors import UpsError

Verdict: TypeAlias = Literal["good", "warning", "bad"]
Finding: TypeAlias = tuple[Verdict, str]
"""A verdict and its sentence, of something that whoever looks has a name for; see `Check`."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at, in a word.
        verdict: `warning` hampers the run, `bad` would end it.
        sentence: why, and what to do about it; without final stop.
    """

    name: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True)
class Preflight:
    """All that was looked at, in the order in which a user would mend it."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing would end the run."""
        return all(check.verdict != "bad" for check in self.checks)

    def to_json(self) -> dict[str, object]:
        """What `ups train --dry-run --json` prints."""
        return {"ready": self.ready, "checks": [asdict(check) for check in self.checks]}


def attempt(name: str, look: Callable[[], Finding]) -> Check:
    """Look, and turn an error that the user can mend into a bad verdict."""
    try:
        return Check(name, *look())
    except UpsError as problem:
        return Check(name, "bad", said(problem))
    except OSError as problem:
        return Check(name, "bad", f"{problem.filename or name}: {problem.strerror or problem}")


def said(problem: UpsError) -> str:
    """An error and what to do about it as one sentence."""
    lines = [*problem.message.splitlines(), *([] if problem.hint is None else problem.hint.splitlines())]
    return "; ".join(line.strip().rstrip(".") for line in lines if line.strip())
