"""What `ups cache check --json` knows, as a page."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from textual.content import Content

from ups_app.tui.widgets.rows import Pages
from ups_app.tui.widgets.words import heading
from ups_engine.telemetry.units import human_bytes

_COUNTS = ("samples", "complete", "missing", "stale", "corrupt")
_SIZES = (("bytes_on_disk", "on disk"), ("bytes_in_ram", "in RAM"))
_BAD = {"missing": "$warning", "stale": "$warning", "corrupt": "$error"}
_LEAST_WIDTH = 20


class CacheReport(Pages):
    """Splits, memory, GPUs, residency and verdict; dimmed while it is being looked at again."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._report: Mapping[str, Any] | None = None
        self._said: Sequence[str] = ()

    def tell(self, report: Mapping[str, Any] | None, said: Sequence[str] = ()) -> None:
        """Show a report, or, where there is none, why not."""
        self._report, self._said = report, said
        self.draw()

    def _page(self, width: int) -> list[Content]:
        report = self._report
        return list(_wrapped(self._said, width) if report is None else self._facts(report, width))

    def _facts(self, report: Mapping[str, Any], width: int) -> Iterator[Content]:
        sign, colour = ("✓", "$success") if report["ready"] else ("✗", "$error")
        first, *rest = _wrapped([f"{sign} {report['verdict']}"], width)
        yield first.stylize(f"b {colour}", 0, first.plain.find("eady") + len("eady"))
        yield from rest
        yield Content("")
        yield from _table(report["splits"])
        yield Content("")
        ram = report["ram"]
        yield from _memory("RAM", f"{human_bytes(ram['available_bytes'])} free, {ram['limit_source']}", ram)
        for gpu in report["gpu"]:
            free, total = human_bytes(gpu["free_bytes"]), human_bytes(gpu["total_bytes"])
            yield from _memory(f"GPU {gpu['index']}", f"{free} of {total} free, {gpu['name']}", gpu)
        if not report["gpu"]:
            yield _labelled("GPU", Content.styled("none here", "$muted"))
        yield _labelled("residency", Content.styled(report["residency"]["choice"], "b"))


def _memory(name: str, text: str, where: Mapping[str, Any]) -> Iterator[Content]:
    fits = ("✓ holds the latents", "$success") if where["sufficient"] else ("✗ too small for them", "$warning")
    yield _labelled(name, Content.assemble(text, "  ", fits))


def _wrapped(texts: Sequence[str], width: int) -> Iterator[Content]:
    for text in texts:
        for line in textwrap.wrap(text, max(width, _LEAST_WIDTH), break_on_hyphens=False) or [""]:
            yield Content(line)


def _labelled(name: str, content: Content) -> Content:
    return Content.assemble((f"{name:<11}", "$muted"), content)


def _table(splits: Sequence[Mapping[str, Any]]) -> Iterator[Content]:
    """A line for every split, figures to the right; what is wrong in colour."""
    titles = f"{'split':<7}" + "".join(f"{name:>9}" for name in _COUNTS) + "".join(f"{t:>10}" for _, t in _SIZES)
    yield heading(titles)
    for split in splits:
        parts: list[Content | str] = [f"{split['name']:<7}"]
        for name in _COUNTS:
            text = f"{split[name]:>9}"
            parts.append(Content.styled(text, f"b {_BAD[name]}") if name in _BAD and split[name] else text)
        parts += [f"{human_bytes(split[key]):>10}" for key, _ in _SIZES]
        yield Content.assemble(*parts)
