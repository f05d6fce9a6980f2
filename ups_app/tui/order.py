"""What a user has put together for a new run, and the command that starts it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ups_engine.config.schema import STAGES

_TYPED = ("data.path", "runs.name")
"""Settings that the form has fields for; an empty one leaves them as they are."""


@dataclass(frozen=True)
class Order:
    """A run to be.

    Attributes:
        preset: its name; None for none.
        changed: texts of the settings that differ from preset and files, by path, in the order of the changes.
        left_out: stages that do not run.
    """

    preset: str | None = None
    changed: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    def having(self, key: str, text: str) -> "Order":
        """The order with another setting changed."""
        if key in _TYPED and not (text := text.strip()):
            return self.without(key)
        return replace(self, changed={**self.changed, key: text})

    def without(self, key: str) -> "Order":
        """The order with a setting as it was."""
        return replace(self, changed={k: text for k, text in self.changed.items() if k != key})

    def toggled(self, stage: str) -> "Order":
        """The order with a stage left out, or run again."""
        return replace(self, left_out=self.left_out ^ {stage})

    @property
    def overrides(self) -> list[str]:
        """The changes as `KEY=VALUE`, for `load_settings`."""
        return [f"{key}={text}" for key, text in self.changed.items()]

    @property
    def arguments(self) -> list[str]:
        """What follows `ups train`."""
        data = self.changed.get("data.path")
        return [
            *(("--preset", self.preset) if self.preset else ()),
            *(("--data", data) if data else ()),
            *(part for assignment in self.without("data.path").overrides for part in ("--set", assignment)),
            *(part for stage in STAGES if stage in self.left_out for part in ("--skip", stage)),
        ]

    @property
    def command(self) -> str:
        """The command line that starts the run, for a shell."""
        return shlex.join(["ups", "train", "--detach", *self.arguments])
