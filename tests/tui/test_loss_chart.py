"""Charts: axes that can be read, curves whose extremes are seen, and drawing seldom enough for a slow line."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App
from textual.content import Content

from ups_app.tui.looks import plain
from ups_app.tui.widgets import loss_chart
from ups_app.tui.widgets.axes import linear_axis, log_axis, steps_axis, tick_label
from ups_app.tui.widgets.line import Rows
from ups_app.tui.widgets.loss_chart import LossChart
from ups_app.tui.widgets.plot import Series, chart, line_dots
from ups_engine.runs.curves import Curve, StageCurves

POSITIVE = st.floats(1e-12, 1e12)


def drawn(lines):
    return [line.plain for line in lines]


def curve(values, start=1):
    return Curve(np.arange(start, start + len(values), dtype=float), np.array(values, dtype=float))


@given(POSITIVE, POSITIVE, st.integers(2, 12))
def test_a_logarithmic_axis_holds_its_values_and_has_ticks_that_can_be_read(one, other, most):
    low, high = sorted((one, other))
    axis = log_axis(low, high)
    assert 0 < axis.low <= low * (1 + 1e-9) and high <= axis.high
    ticks = axis.ticks(most)
    assert 2 <= len(ticks) <= max(most, 5)
    assert ticks == sorted(ticks) and all(-1e-9 <= axis.places(tick) <= 1 + 1e-9 for tick in ticks)
    assert len(set(map(tick_label, ticks))) == len(ticks)
    assert all(len(tick_label(tick)) <= 8 for tick in ticks)


@given(POSITIVE, st.integers(2, 12))
def test_a_linear_axis_begins_at_zero_and_is_not_much_longer_than_its_values(high, most):
    axis = linear_axis(high)
    assert axis.low == 0 and high * (1 - 1e-9) <= axis.high <= 1.5 * high
    ticks = axis.ticks(most)
    assert ticks[0] == 0 and 2 <= len(ticks) <= most + 1


@pytest.mark.parametrize(
    ("value", "label"),
    [(0, "0"), (0.05, "0.05"), (2e-4, "2e-4"), (1e-10, "1e-10"), (250, "250"), (1500, "1.5k"), (3e6, "3M")],
)
def test_labels_are_short(value, label):
    assert tick_label(value) == label


def test_the_axis_of_steps_ends_with_the_stage_and_stands_still_while_there_is_room():
    assert steps_axis(600, 640).high == 640
    assert steps_axis(640, 640).high == 640
    assert {steps_axis(last, 10_000).high for last in range(410, 500)} == {500}


def test_decades_are_equally_far_apart():
    lines = drawn(chart([Series("loss", np.arange(5.0), 10.0 ** -np.arange(5), "$primary")], 60, 19, log=True))
    labelled = {line.split()[0]: row for row, line in enumerate(lines) if "┤" in line}
    rows = [labelled[label] for label in ("1", "0.1", "0.01", "0.001", "1e-4")]
    assert np.ptp(np.diff(rows)) <= 1


def test_a_single_spike_among_very_many_points_is_seen():
    values = np.full(100_000, 0.5)
    values[61_803] = 50.0
    lines = drawn(chart([Series("loss", np.arange(1e5), values, "$primary")], 80, 14, log=True))
    top = next(line for line in lines if any(0x2800 < ord(c) < 0x2900 for c in line))
    column = next(n for n, c in enumerate(top) if 0x2800 < ord(c) < 0x2900)
    assert column - 9 == pytest.approx(0.618 * 71, abs=1)


def test_a_line_has_no_gaps_and_reaches_both_ends():
    x = np.array([0.0, 9.0, 10.0, 39.0])
    dots = line_dots(x, np.array([0.0, 30.0, 2.0, 15.0]), 40, 32)
    assert dots.any(0).all()
    rows = [np.flatnonzero(column) for column in dots.T]
    assert all(b[0] <= a[-1] + 1 and a[0] <= b[-1] + 1 for a, b in pairwise(rows))
    assert rows[0][0] == 0 and rows[-1][-1] == 15


def test_what_cannot_be_drawn_is_left_out():
    y = np.array([0.5, math.nan, math.inf, 0.0, -1.0, 0.25])
    series = Series("loss", np.arange(6.0), y, "$primary")
    assert any(
        "⠉" in line or "⡀" in line or "⠑" in line or "⠒" in line for line in drawn(chart([series], 60, 9, log=True))
    )
    nothing = drawn(chart([Series("loss", np.arange(2.0), np.array([math.nan, -1.0]), "$primary")], 60, 9, log=True))
    assert len(nothing) == 9 and "nothing to draw yet" in nothing[4]
    assert any("too small" in line for line in drawn(chart([series], 12, 9, log=True)))


@pytest.mark.parametrize("size", [(20, 5), (78, 11), (150, 40)])
def test_a_chart_has_the_size_asked_for_in_ascii_too(size):
    width, height = size
    series = [Series(name, np.arange(99.0), np.linspace(9, 1, 99) / n, "$primary") for n, name in ((1, "a"), (2, "b"))]
    lines = drawn(
        chart([*series, Series("v", np.array([50.0]), np.array([3.0]), "$warning", True)], width, height, log=True)
    )
    assert len(lines) == height and {len(line) for line in lines} == {width}
    ascii_lines = [plain(line) for line in lines]
    assert all(line.isascii() and len(line) == width for line in ascii_lines)
    assert any("*" in line for line in ascii_lines) and any("o" in line for line in ascii_lines)


def test_several_lines_are_told_apart_without_colours():
    series = [Series(name, np.arange(9.0), np.full(9, value), "$primary") for name, value in (("x", 1.0), ("y", 3.0))]
    lines = drawn(chart(series, 70, 12, log=True))
    rows = {
        letter: {n for n, line in enumerate(lines) if letter in line.split("│")[-1].split("┤")[-1]} for letter in "ab"
    }
    assert rows["a"] and rows["b"] and max(rows["b"]) < min(rows["a"])


class Shown(App):
    def __init__(self, widget):
        super().__init__()
        self.widget = widget

    def compose(self):
        yield self.widget


async def test_only_lines_that_changed_are_painted_again(monkeypatch):
    rows = Rows()
    async with Shown(rows).run_test(size=(40, 10)) as pilot:
        rows.put([Content("one"), Content("two"), Content("three")])
        await pilot.pause()
        painted = []
        monkeypatch.setattr(rows, "refresh", lambda *regions, **options: painted.append((regions, options)))
        rows.put([Content("one"), Content("TWO"), Content("three")])
        assert [region.y for regions, _ in painted for region in regions] == [1] and painted[0][1] == {}
        rows.put([Content("one"), Content("TWO"), Content("three")])
        rows.put([Content("one"), Content.styled("TWO", "bold"), Content("three")])
        assert [region.y for regions, _ in painted for region in regions] == [1, 1]
        rows.put([Content("one")])
        assert painted[-1][1] == {"layout": True}


async def test_grown_curves_are_drawn_after_a_while_and_other_curves_at_once(monkeypatch):
    monkeypatch.setattr(loss_chart, "REDRAWN_EVERY", 0.2)
    widget = LossChart()
    async with Shown(widget).run_test(size=(80, 20)) as pilot:
        draws = []
        put = widget.put
        monkeypatch.setattr(widget, "put", lambda lines: (draws.append(lines), put(lines)))
        short = StageCurves(loss=curve([3.0, 2.0]), lr=curve([1e-3, 1e-3]))
        widget.tell("operator", "loss", short)
        assert len(draws) == 1 and "training 2" in draws[0][0].plain
        widget.tell("operator", "loss", short)
        for length in range(3, 30):
            widget.tell("operator", "loss", StageCurves(loss=curve(np.linspace(3, 1, length)), lr=short.lr))
        assert len(draws) == 1
        while len(draws) == 1:
            await pilot.pause(0.01)
        assert len(draws) == 2 and "training 1" in draws[1][0].plain
        widget.tell("operator", "lr", short)
        assert len(draws) == 3 and "learning rate" in draws[2][0].plain
        widget.tell("operator", "lr", StageCurves(loss=curve([9.0]), lr=short.lr))
        await pilot.pause(0.25)
        assert len(draws) == 3  # what has changed is not what is shown


async def test_curves_that_grow_after_a_rest_are_drawn_at_once_and_go_on_being_drawn(monkeypatch):
    monkeypatch.setattr(loss_chart, "REDRAWN_EVERY", 0.0)
    widget = LossChart()
    async with Shown(widget).run_test(size=(80, 20)):
        for last in (3.0, 2.0, 1.0):
            widget.tell("operator", "loss", StageCurves(loss=curve([4.0, last])))
            assert f"training {last:.0f}" in widget.lines[0].plain


async def test_every_kind_of_curve_and_every_part_of_the_loss_is_drawn():
    parts = {"L_forward": curve([0.5, 0.4]), "L_spec": curve([0.05, 0.04])}
    curves = StageCurves(
        curve([1.0, 0.5]), curve([0.7], 2), curve([1e-3, 5e-4]), curve([2.0, 1.0]), curve([900, 1234.0]), parts
    )
    widget = LossChart()
    wanted = {
        "loss": "training 0.5   ○ validation 0.7",
        "parts": "a L_forward 0.4   b L_spec 0.04",
        "lr": "now 5.00e-4",
        "grad_norm": "now 1",
        "throughput": "now 1,234",
    }
    async with Shown(widget).run_test(size=(80, 20)):
        for kind, legend in wanted.items():
            widget.tell("operator", kind, curves)
            assert legend in widget.lines[0].plain
            assert any(0x2800 < ord(c) < 0x2900 for line in widget.lines[1:] for c in line.plain)
