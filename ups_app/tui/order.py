"""What a user has put together for a new run, and the command that starts it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ups_engine.config.schema import STAGES


@dataclass(frozen=True)
class Order:
    """A run to be.

    Attributes:
        preset: its name; None for none.
        data: value of `--data`; empty for the settings' own.
        name: of the run; empty for one after task and time.
        changed: texts of other settings by their path, in the order of the changes.
        left_out: stages that do not run.
    """

    preset: str | None = None
    data: str = ""
    name: str = ""
    changed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    left_out: frozenset[str] = frozenset()

    def having(self, key: str, text: str) -> "Order":
        """The order with another setting changed."""
        if key == "data.path":
            return replace(self, data=text.strip())
        if key == "runs.name":
            return replace(self, name=text.strip())
        return replace(self, changed=MappingProxyType({**self.changed, key: text}))

    def without(self, key: str) -> "Order":
        """The order with a setting as it was."""
        if key in ("data.path", "runs.name"):
            return self.having(key, "")
        return replace(self, changed=MappingProxyType({k: text for k, text in self.changed.items() if k != key}))

    def toggled(self, stage: str) -> "Order":
        """The order with a stage left out, or run again."""
        return replace(self, left_out=self.left_out ^ {stage})

    @property
    def own(self) -> dict[str, str]:
        """Texts of all settings that differ from preset and files, by path."""
        fields = {"data.path": self.data, "runs.name": self.name}
        return {**self.changed, **{key: text for key, text in fields.items() if text}}

    @property
    def overrides(self) -> list[str]:
        """The changes as `KEY=VALUE`, for `load_settings`."""
        return [f"{key}={text}" for key, text in self.own.items()]

    @property
    def arguments(self) -> list[str]:
        """What follows `ups train`."""
        changes = {**self.changed, **({"runs.name": self.name} if self.name else {})}
        return [
            *(("--preset", self.preset) if self.preset else ()),
            *(("--data", self.data) if self.data else ()),
            *(part for key, text in changes.items() for part in ("--set", f"{key}={text}")),
            *(part for stage in STAGES if stage in self.left_out for part in ("--skip", stage)),
        ]

    @property
    def command(self) -> str:
        """The command line that starts the run, for a shell."""
        return shlex.join(["ups", "train", "--detach", *self.arguments])
