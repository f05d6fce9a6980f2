"""`ups config`, run as a user runs it."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ups_app.cli.main import main


@pytest.fixture
def ups(tmp_path, monkeypatch, capsys):
    """Run `ups` in an empty folder and home; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return run


def test_show_prints_toml_that_config_takes_back(ups):
    code, out, err = ups("config", "show", "--preset", "smoke", "--set", "seed=5")
    assert (code, err) == (0, "")
    assert tomllib.loads(out)["seed"] == 5
    Path("mine.toml").write_text(out)
    assert ups("config", "show", "--config", "mine.toml")[1] == out


def test_show_with_origin_names_the_layer_of_every_value(ups, monkeypatch):
    Path("ups.toml").write_text("[latent]\ndim = 4\n")
    monkeypatch.setenv("UPS_DATA__TASK", "advection1d")
    code, out, err = ups("config", "show", "--origin", "--set", "training.batch_size=8")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines()[1:]}
    assert rows["latent.dim"] == ["4", "ups.toml"]
    assert rows["data.task"] == ['"advection1d"', "environment UPS_DATA__TASK"]
    assert rows["training.batch_size"] == ["8", "--set"]
    assert rows["stages.operator.batch_size"] == ["8", "training.batch_size (--set)"]
    assert rows["data.path"] == ["-", "unset"]
    assert rows["seed"] == ["0", "settings/default.toml"]
    assert len(rows) == len(json.loads(ups("config", "show", "--json")[1])["origins"])


def test_show_as_json_holds_values_and_origins(ups):
    code, out, _ = ups("config", "show", "--json", "--preset", "smoke")
    printed = json.loads(out)
    assert code == 0
    assert printed["settings"]["training"]["patience"] is None
    assert printed["origins"]["latent.dim"] == "preset smoke"


def test_notices_on_earlier_keys_go_to_stderr(ups):
    Path("old.yaml").write_text("training: {time_stride: 2}\n")
    code, out, err = ups("config", "show", "--config", "old.yaml")
    assert code == 0
    assert tomllib.loads(out)["data"]["time_stride"] == 2
    assert err == "--config old.yaml, line 1: training.time_stride is now data.time_stride\n"


def test_validate_says_what_is_wrong_and_leaves_with_2(ups):
    code, out, err = ups("config", "validate", "--set", "training.batchsize=8")
    assert (code, out) == (2, "")
    assert "--set: training.batchsize is no known key; the nearest is training.batch_size" in err
    code, out, err = ups("config", "validate", "--json", "--set", "seed=x")
    assert (code, err) == (2, "")
    assert json.loads(out)["mistakes"] == ['seed = "x" (--set) must be a whole number']


def test_validate_lists_the_layers_that_it_read(ups):
    Path("ups.local.toml").write_text("seed = 3\n")
    assert ups("config", "validate") == (0, "valid: settings/default.toml, ups.local.toml\n", "")
    out = ups("config", "validate", "--json", "--preset", "smoke")[1]
    assert json.loads(out) == {
        "valid": True,
        "layers": ["settings/default.toml", "preset smoke", "ups.local.toml"],
        "notices": [],
    }


def test_presets_are_listed_with_a_summary(ups):
    code, out, _ = ups("config", "presets", "--json")
    assert code == 0
    assert [preset["name"] for preset in json.loads(out)] == ["advection1d", "burgers1d", "heat2d", "smoke"]
    assert "smoke        Everything once" in ups("config", "presets")[1]


def test_init_writes_a_commented_file_and_never_overwrites(ups):
    code, out, err = ups("config", "init", "--preset", "smoke", "--set", "seed=7")
    assert (code, out, err) == (0, "", "wrote ups.toml\n")
    written = Path("ups.toml").read_text()
    assert tomllib.loads(written)["seed"] == 7
    assert json.loads(ups("config", "show", "--json")[1])["origins"]["latent.dim"] == "ups.toml"
    code, _, err = ups("config", "init")
    assert code == 2
    assert "ups.toml exists already" in err
    assert Path("ups.toml").read_text() == written


def test_a_secret_is_printed_by_no_command(ups, monkeypatch):
    monkeypatch.setenv("UPS_SECRETS__WANDB_API_KEY", "hunter2-environment")
    Path(".secrets.toml").write_text("wandb_api_key = 'hunter2-file'\n")
    for command in (["show"], ["show", "--origin"], ["show", "--json"], ["validate", "--json"], ["init"]):
        code, out, err = ups("config", *command)
        assert code == 0
        assert "hunter2" not in out + err
    assert "hunter2" not in Path("ups.toml").read_text()


def test_show_answers_without_torch(tmp_path):
    probe = (
        "import sys\nfrom ups_app.cli.main import main\n"
        "try: main(['config', 'show', '--origin'])\n"
        "finally: print([m for m in ('torch', 'numpy', 'textual', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, "[]")
