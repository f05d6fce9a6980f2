"""Settings with their origins."""

import json

from pilots import make_app, piloted, text_of, until

from ups_app.tui.widgets.table import Table


async def test_a_runs_settings_are_found_explained_and_copied(finished):
    app = make_app(finished.path, finished.directory, screen="settings")
    async with piloted(app, size=(120, 30)) as pilot:
        await until(pilot, lambda: app.screen.settled)
        assert "that run was started with" in text_of(app)
        await pilot.press("slash", *"batch_s")
        await until(pilot, lambda: "training.batch_size" in text_of(app) and "seed" not in text_of(app))
        await pilot.press("enter")
        table = app.screen.query_one(Table)
        table.highlight("training.batch_size")
        await until(pilot, lambda: "training.batch_size = 8" in text_of(app))
        assert "ups.toml" in text_of(app)
        assert "accepts a whole number above 0" in text_of(app)
        await pilot.press("y")
        assert app.clipboard == "training.batch_size=8"
        await pilot.press("slash", "escape")
        await until(pilot, lambda: "training.batch_size = 8" in text_of(app) and "latent.dim" in text_of(app))
        assert table.highlighted == "training.batch_size"


async def test_every_value_and_origin_is_there(finished):
    app = make_app(finished.path, finished.directory, screen="settings")
    async with piloted(app, size=(400, 24)) as pilot:
        await until(pilot, lambda: app.screen.settled)
        table = app.screen.query_one(Table)
        rows = {key.value: [cell.plain for cell in table.get_row(key)] for key in table.rows}
        assert {key: row[2] for key, row in rows.items()} == json.loads((finished.path / "origins.json").read_text())
        assert rows["data.generate.points"][1] == "32" and rows["data.path"][1] == "unset"


async def test_without_a_run_they_are_those_of_the_folder(tmp_path):
    app = make_app(tmp_path, screen="settings", settings=["seed=41"])
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled and "seed = 41" in text_of(app))
        assert "for the next run" in text_of(app)
        assert "--set" in text_of(app)


async def test_damaged_settings_are_told_and_another_version_s_are_shown(copied):
    path = copied.path / "settings.toml"
    path.write_text(path.read_text() + "\n[later]\nkey = 3\n")
    copied.directory.vouch(path)
    app = make_app(copied.path, copied.directory, screen="settings")
    async with piloted(app) as pilot:
        await until(pilot, lambda: app.screen.settled)
        await pilot.press("end")
        await until(pilot, lambda: "later.key is no setting of this version" in text_of(app))
    path.write_text("[[[")
    app = make_app(copied.path, copied.directory, screen="settings")
    async with piloted(app) as pilot:
        await until(pilot, lambda: "cannot be read" in text_of(app))
        await pilot.press("end")
        assert "settings.toml is not as UPS wrote" in text_of(app)
