"""What `ups cache check --json` knows, as a page."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from textual.content import Content

from ups_app.tui.widgets.words import heading
from ups_engine.telemetry.units import human_bytes

_COUNTS = ("samples", "complete", "missing", "stale", "corrupt")
_SIZES = (("bytes_on_disk", "on disk"), ("bytes_in_ram", "in RAM"))
_BAD = {"missing": "$warning", "stale": "$warning", "corrupt": "$error"}
_LEAST_WIDTH = 20


def cache_report(report: Mapping[str, Any], width: int, height: int) -> list[Content]:
    """Verdict, splits, memory, GPUs and residency, under each other."""
    sign, colour = ("✓", "$success") if report["ready"] else ("✗", "$error")
    first, *rest = wrapped([f"{sign} {report['verdict']}"], width, height)
    verdict = first.stylize(f"b {colour}", 0, first.plain.find("eady") + len("eady"))
    lines = [verdict, *rest, Content(""), *_table(report["splits"]), Content("")]
    ram = report["ram"]
    lines.append(_memory("RAM", f"{human_bytes(ram['available_bytes'])} free, {ram['limit_source']}", ram))
    for gpu in report["gpu"]:
        free, total = human_bytes(gpu["free_bytes"]), human_bytes(gpu["total_bytes"])
        lines.append(_memory(f"GPU {gpu['index']}", f"{free} of {total} free, {gpu['name']}", gpu))
    if not report["gpu"]:
        lines.append(_labelled("GPU", Content.styled("none here", "$muted")))
    return [*lines, _labelled("residency", Content.styled(report["residency"]["choice"], "b"))]


def wrapped(texts: Sequence[str], width: int, height: int) -> list[Content]:
    """Sentences, each from a line of its own on."""
    broken = (textwrap.wrap(text, max(width, _LEAST_WIDTH), break_on_hyphens=False) or [""] for text in texts)
    return [Content(line) for lines in broken for line in lines]


def _memory(name: str, text: str, where: Mapping[str, Any]) -> Content:
    fits = ("✓ holds the latents", "$success") if where["sufficient"] else ("✗ too small for them", "$warning")
    return _labelled(name, Content.assemble(text, "  ", fits))


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
