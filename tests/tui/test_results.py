"""The results screen: the figures of a report, errors by frame, pictures of fields, a sentence where there are none."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pilots import goes_to, is_there, keys_of, make_app, piloted, text_of, until

from ups_app.tui.widgets.field_picture import (
    LEVELS,
    SHADES,
    Choice,
    FieldPicture,
    cells,
    levels,
    resized,
    scene,
    shades,
)
from ups_app.tui.widgets.words import short_figure
from ups_engine.evaluation.examples import Examples


def words_of(app):
    """What is on the screen as one line."""
    return " ".join(text_of(app).split())


def planes(frames=5, trajectories=3, fields=2):
    """Two-dimensional examples in which every value tells where it belongs."""
    shape = (trajectories, frames, 8, 12, fields)
    index = np.indices(shape)
    truth = (100.0 * index[0] + 10.0 * index[1] + index[4] + 0.01 * index[3]).astype(np.float32)
    return Examples(
        truth=truth,
        prediction=truth + np.float32(0.5),
        frames=np.arange(frames) * 10,
        time=0.25 * np.arange(frames),
        coordinates=(np.arange(8.0), np.arange(12.0)),
        trajectories=np.arange(trajectories) + 40,
        fields=("density", "pressure"),
        units=("kg/m3", ""),
        given=1,
        variant="operator",
        split="test",
    )


async def results(pilot, app):
    await until(pilot, lambda: is_there(app, "results") and app.screen.settled, "results settled")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_every_figure_of_the_report_is_in_the_table(finished, size):
    report = finished.evaluation()
    app = make_app(finished.path.parent, finished.directory, screen="results")
    async with piloted(app, size) as pilot:
        await results(pilot, app)
        lines = [line.plain for line in app.screen.query_one("#scores").lines]
        digits = 2 if size[0] == 80 else 3
        still = report["variants"]["persistence"]["rollout"]["nrmse"]
        for name, variant in report["variants"].items():
            cells = next(line for line in lines if name in line).split()
            rollout, field = variant["rollout"], variant["rollout"]["fields"]["u"]
            bands = field["frmse"]
            numbers = (
                variant["one_step"]["nrmse"], rollout["nrmse"], rollout["nrmse"] / still, rollout["rmse_over_std"],
                field["crmse"], field["brmse"], bands["low"], bands["mid"], bands["high"],
            )  # fmt: skip
            expected = [short_figure(np.nan if number is None else number, digits) for number in numbers]
            shown = [*cells[1:7], *cells[9:]]
            assert len(shown) == (8 if size[0] == 80 else 9)  # in 80 columns without the last band
            for cell, wanted in zip(shown, expected, strict=False):
                # a figure that would touch its neighbour has one digit less
                assert cell == wanted or (len(wanted) >= 7 and float(cell) == pytest.approx(float(wanted), rel=0.5))
            assert cells[7] == str(variant["evaluations_per_step"])
            assert cells[0].startswith("*") == (name == report["selected"])
        assert all(len(line) <= size[0] for line in lines)
        assert "test split: 1 trajectories of 6 frames (1 given) on 32 points" in words_of(app)
        assert "steady prior" in words_of(app)


async def test_where_there_is_room_for_one_plot_a_key_turns_between_them(finished):
    app = make_app(finished.path.parent, finished.directory, screen="results")
    async with piloted(app, (80, 24)) as pilot:
        await results(pilot, app)
        assert "nRMSE by frame   a persistence   b operator" in text_of(app) and "c fields" in keys_of(app)
        await pilot.press("c")
        await until(pilot, lambda: "truth" in text_of(app) and "▀▀▀▀" in text_of(app))
        assert "nRMSE by frame" not in text_of(app) and "c errors" in keys_of(app)
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "nRMSE by frame" in text_of(app) and "▀▀▀▀" in text_of(app))


async def test_the_pictures_have_numbers_and_a_single_trajectory_offers_no_other(finished):
    examples = Examples.read(finished.path / "reports/fields.npz")
    app = make_app(finished.path.parent, finished.directory, screen="results")
    async with piloted(app, (120, 40)) as pilot:
        await results(pilot, app)
        text = text_of(app)
        assert f"u, test trajectory {examples.trajectories[0]} (1/1)" in text and f"by {examples.variant}" in text
        low, high = short_figure(float(examples.truth.min())), short_figure(float(examples.truth.max()))
        most = short_figure(float(np.abs(examples.prediction - examples.truth).max()))
        assert text.count(f"{low} to {high}") == 2 and f"-{most} to {most}" in text
        assert "trajectory" not in keys_of(app) and "frame" not in keys_of(app)


async def test_a_run_that_has_not_been_evaluated_says_so(copied):
    (copied.path / "reports/evaluation.json").unlink()
    app = make_app(copied.path.parent, copied.directory, screen="results")
    async with piloted(app, (80, 24)) as pilot:
        await results(pilot, app)
        assert "has not been evaluated yet" in words_of(app) and "`ups evaluate run`" in words_of(app)
        assert not app.screen.query_one("#scores").lines


async def test_an_evaluation_made_meanwhile_is_there_when_one_comes_back(copied):
    report = copied.path / "reports/evaluation.json"
    kept = report.read_bytes()
    report.unlink()
    app = make_app(copied.path.parent, copied.directory, screen="results")
    async with piloted(app, (80, 24)) as pilot:
        await results(pilot, app)
        await goes_to(pilot, "3", "dashboard")
        report.write_bytes(kept)
        await goes_to(pilot, "5", "results")
        assert "persistence" in text_of(app)


async def test_a_damaged_report_is_named_and_the_next_step_told(copied):
    (copied.path / "reports/evaluation.json").write_text('{"selected": ')
    app = make_app(copied.path.parent, copied.directory, screen="results")
    async with piloted(app, (80, 24)) as pilot:
        await results(pilot, app)
        await until(pilot, lambda: "is no evaluation report" in words_of(app))
        assert "`ups evaluate RUN` writes it anew" in words_of(app)


@pytest.mark.parametrize("content", [None, b"no archive"])
async def test_a_report_without_fields_is_shown_without_pictures(copied, content):
    fields = copied.path / "reports/fields.npz"
    fields.unlink()
    if content is not None:
        fields.write_bytes(content)
    app = make_app(copied.path.parent, copied.directory, screen="results")
    async with piloted(app, (120, 40)) as pilot:
        await results(pilot, app)
        assert "field examples" in words_of(app) and "`ups evaluate RUN` writes it anew" in words_of(app)
        assert app.screen.query_one("#errors").lines and "truth" not in text_of(app)


async def test_trajectories_fields_and_frames_of_planes_are_turned_through(copied):
    planes().write(copied.path / "reports/fields.npz")
    app = make_app(copied.path.parent, copied.directory, screen="results")
    async with piloted(app, (160, 50)) as pilot:
        await results(pilot, app)
        assert "density in kg/m3, test trajectory 40 (1/3)" in text_of(app)
        assert "frame 40, t = 1 of 1" in text_of(app)  # the last frame, where the error is
        await pilot.press("right")
        assert "frame 40," in text_of(app)
        await pilot.press(*["left"] * 9)
        await until(pilot, lambda: "frame 0, t = 0 of 1, given" in text_of(app))
        await pilot.press("t", "v")
        await until(pilot, lambda: "pressure, test trajectory 41 (2/3)" in text_of(app))
        assert "101 to 141" in text_of(app) and "-0.5 to 0.5" in text_of(app)
        await pilot.press("t", "t", "v")
        await until(pilot, lambda: "density in kg/m3, test trajectory 40 (1/3)" in text_of(app))


@pytest.mark.parametrize("how", ["ascii", "no colour"])
async def test_without_colours_or_unicode_pictures_are_shades(copied, monkeypatch, how):
    if how == "no colour":
        monkeypatch.setenv("NO_COLOR", "1")
    app = make_app(copied.path.parent, copied.directory, screen="results", ascii=how == "ascii")
    async with piloted(app, (120, 40)) as pilot:
        await results(pilot, app)
        picture = app.screen.query_one(FieldPicture)
        rows = [picture.render_line(y).text for y in range(picture.size.height)]
        assert "|difference|" in rows[0] and "0 to " in rows[-1]
        assert all(set(row) <= {*SHADES, "?"} for row in rows[1:-1])
        assert len({sign for row in rows[1:-1] for sign in row}) > 5


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_a_prediction_that_diverged_is_shown_as_far_as_it_goes(copied, ascii_only):
    examples = Examples.read(copied.path / "reports/fields.npz")
    prediction = examples.prediction.copy()
    prediction[:, 3:] = np.nan
    prediction[:, 2, 0] = np.inf
    dataclasses.replace(examples, prediction=prediction).write(copied.path / "reports/fields.npz")
    report = copied.evaluation()
    report["variants"]["operator"]["rollout"]["nrmse_by_frame"][2:] = [None] * 3
    (copied.path / "reports/evaluation.json").write_text(json.dumps(report))
    app = make_app(copied.path.parent, copied.directory, screen="results", ascii=ascii_only)
    async with piloted(app, (120, 40)) as pilot:
        await results(pilot, app)
        picture = app.screen.query_one(FieldPicture)
        assert any("?" in picture.render_line(y).text for y in range(picture.size.height)) == ascii_only
        assert "truth" in text_of(app) and "nan" not in text_of(app)


def test_a_plane_is_shown_as_it_is_and_a_volume_by_its_middle():
    examples = planes()
    seen = scene(examples, Choice(trajectory=1, field=1, frame=2))
    assert not seen.over_time and np.array_equal(seen.truth, examples.truth[1, 2, ..., 1])
    assert seen.most == pytest.approx(0.5)
    volume = dataclasses.replace(
        examples,
        truth=examples.truth[:, :, :, :, None],
        prediction=examples.prediction[:, :, :, :, None],
        coordinates=(*examples.coordinates, np.arange(1.0)),
    )
    assert np.array_equal(scene(volume, Choice(1, 1, 2)).truth, seen.truth)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_pictures_of_any_size_keep_their_range_and_constants_stay_constant(height, width, rows, columns):
    values = np.random.default_rng(0).normal(size=(height, width))
    found = resized(values, rows, columns)
    assert found.shape == (rows, columns)
    assert values.min() - 1e-12 <= found.min() and found.max() <= values.max() + 1e-12
    assert np.allclose(resized(np.full((height, width), 3.0), rows, columns), 3.0)
    if rows == height and columns == width:
        assert np.allclose(found, values)
    if height % rows == 0 and width % columns == 0:
        assert found.mean() == pytest.approx(values.mean())


def test_levels_cover_the_scale_and_mark_what_is_not_finite():
    values = np.array([[-5.0, 0.0, 0.5, 1.0, 9.0, np.nan, np.inf]])
    assert levels(values, 0.0, 1.0, 10).tolist() == [[0, 0, 5, 9, 9, -1, -1]]
    assert levels(np.zeros((1, 2)), 0.0, 0.0, 10).tolist() == [[0, 0]]
    assert shades(values, 0.0, 1.0)[0].text == "  =@@??".replace("=", SHADES[5])


def test_equal_neighbours_are_written_in_one_go():
    steps = np.repeat(np.linspace(0, 1, 4), 10)[None].repeat(2, 0)
    [strip] = cells(steps, 0.0, 1.0, diverging=False, dark=True)
    assert len(strip) == 4 and strip.cell_length == 40
    noise = np.random.default_rng(0).random((40, 60))
    colours = {
        str(segment.style.color) for strip in cells(noise, 0, 1, diverging=True, dark=False) for segment in strip
    }
    assert len(colours) <= LEVELS
