"""The latent caches of the followed run, or of the working folder's settings: their state, and encoding the rest."""

import json
import re
import shlex
import time
from functools import partial

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from ups_app.tui.actions import Action
from ups_app.tui.process import Done
from ups_app.tui.screens.base import UpsScreen
from ups_app.tui.widgets.cache_report import cache_report, wrapped
from ups_app.tui.widgets.line import Line, Rows
from ups_app.tui.widgets.words import bar
from ups_app.wording import short_reference
from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.requests import LIVE
from ups_engine.runs.watch import RunView

_WORK = (
    Action("refresh", "c", "check", "check the cache"),
    Action("deep", "d", "deep check", "check the cache and read every checksum"),
    Action("build", "b", "build", "encode what is missing in the cache", True),
    Action("repair", "r", "repair", "read every checksum and encode again what is damaged", True),
)
CANCEL = Action("cancel", "escape", "cancel", "end the check or the build under way; a build goes on later")
_PROGRESS = re.compile(r"(?P<what>.+?) (?P<done>\d+)/(?P<total>\d+), (?P<rest>.+)")
_BAR = 24  # cells
_ENCODING = {"build": "encoding what is missing", "repair": "mending what is damaged"}
_INTERVAL = "--interval=1"


class CacheScreen(UpsScreen):
    """What `ups cache check` says; `ups cache build` and `repair` with their progress."""

    ACTIONS = (*_WORK, CANCEL)
    AUTO_FOCUS = "#page"

    _shown: RunDirectory | None = None
    _looked = False
    _doing: str | None = None
    """What is under way."""

    def body(self) -> ComposeResult:
        """Whose caches, the report, how far the work is, and what the run itself reads from."""
        yield Line(id="whose")
        with VerticalScroll(id="page"):
            yield Rows(id="report")
        yield Line(id="work")
        yield Line(id="in-use")

    def show(self, view: RunView | None) -> None:
        """Check the caches of another run; tell what the followed one reads from."""
        run = self.ups.followed
        if (not self._looked or run != self._shown) and self._doing not in _ENCODING.values():  # not cut short
            self._looked, self._shown = True, run
            self.query_one("#report", Rows).show(partial(wrapped, ()))
            self.query_one("#whose", Line).put("")
            self.action_refresh()
        live = view is not None and view.state.state in LIVE
        cache = view.vitals.get("cache") if view is not None and live else None
        in_use = f"the run reads from {cache['residency']} now: {cache['reason']}" if cache else ""
        self.query_one("#in-use", Line).put(in_use)

    @property
    def settled(self) -> bool:
        """Whether nothing is under way."""
        return super().settled and self._looked and self._doing is None

    def copyable(self) -> str:
        """The command that tells the same."""
        return shlex.join(["ups", "cache", "check", *self._reference])

    def label(self, action: Action) -> str:
        """Offer what goes together: one command at a time."""
        if action in self.ACTIONS and (action is CANCEL) != (self._doing is not None):
            return ""
        return action.label

    def action_refresh(self) -> None:
        """Look at metadata, records and sizes."""
        self._begin("checking the cache", "check")

    def action_deep(self) -> None:
        """Verify every checksum."""
        self._begin("verifying every checksum", "check", "--deep", _INTERVAL)

    def action_build(self) -> None:
        """Encode what is missing."""
        self._begin(_ENCODING["build"], "build", _INTERVAL)

    def action_repair(self) -> None:
        """Encode again what is damaged."""
        self._begin(_ENCODING["repair"], "repair", _INTERVAL)

    def action_cancel(self) -> None:
        """End what is under way."""
        if self._doing is not None:
            self.workers.cancel_group(self, "cache")
            self._end(f"cancelled {self._doing}")

    @property
    def _reference(self) -> tuple[str, ...]:
        return () if self._shown is None else (short_reference(self._shown, self.ups.root),)

    def _begin(self, doing: str, command: str, *options: str) -> None:
        self._doing = doing
        self._tell(Content.from_markup("[$muted]$doing ...[/]", doing=doing))
        self.run_worker(self._work(command, *options), group="cache", exclusive=True, exit_on_error=False)
        self.refresh_keys()

    async def _work(self, command: str, *options: str) -> None:
        """Run the command; after one that encodes, check what it left."""
        before = ""
        if command in _ENCODING:
            encoded = await self.ups.ups("cache", command, *self._reference, *options, on_line=self._heard)
            if encoded.code:
                self._fail(encoded)
                return
            before = {"build": "built; ", "repair": "repaired; "}[command]
        done = await self.ups.ups(
            "cache", "check", *self._reference, "--json", *(options if command == "check" else ()), on_line=self._heard
        )
        try:
            report = json.loads(done.out)
        except ValueError:
            self._fail(done)
            return
        self.query_one("#report", Rows).show(partial(cache_report, report))
        moment = time.strftime("%H:%M:%S", time.localtime(self.ups.clock()))
        self._end(f"{before}{'every checksum verified' if '--deep' in options else 'checked'} at {moment}")

    def _fail(self, done: Done) -> None:
        self.query_one("#report", Rows).show(partial(wrapped, done.error))
        self._end("")

    def _end(self, text: str) -> None:
        self._doing = None
        self._tell(Content.styled(text, "$muted"))
        self.refresh_keys()

    def _heard(self, line: str) -> None:
        """Take in a line of the command: whose caches, how far, or what was done."""
        if line.startswith("caches of "):
            self.query_one("#whose", Line).put(line)
        elif match := _PROGRESS.fullmatch(line):
            done, total = int(match["done"]), int(match["total"])
            figures = f"{done}/{total}, {match['rest']}"
            filled = bar(done / max(total, 1), _BAR), "$primary"
            self._tell(Content.assemble(f"{match['what']} ", filled, f" {figures}"))
        elif line and not line.startswith(("error:", " ")):
            self._tell(Content(line))

    def _tell(self, content: Content) -> None:
        self.query_one("#work", Line).put(content, layout=False)
