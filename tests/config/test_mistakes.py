"""A line for every mistake: the key, the value, the layer and line, and what is allowed or nearest."""

import tomllib
from pathlib import Path

import pytest

from ups_engine.errors import SettingsError


def mistakes(load, **given) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**given)
    assert caught.value.exit_code == 2
    return caught.value.message.split("\n")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("training.batchsize", "training.batch_size"),
        ("trianing", "training"),
        ("trianing.batch_size", "training"),
        ("stages.opperator", "stages.operator"),
        ("stages.operator.lr", "stages.operator.optimizer.lr"),
        ("training.optimiser.lr", "training.optimizer"),
        ("data.dim", "latent.dim"),
        ("latent.dims", "latent.dim"),
        ("operator.hidden", "models.operator"),
        ("training.items", None),  # names of dictionary methods are keys like others
        ("copy", None),
        ("DATA", None),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(load, tmp_path, key, nearest):
    (tmp_path / "ups.toml").write_text(f"seed = 1\n\n{key} = 3\n")
    [line] = mistakes(load)
    assert line.startswith("ups.toml, line 3: ")
    assert "is no known key; the nearest is " in line
    assert nearest is None or line.endswith(f"the nearest is {nearest}")


TABLE_IN_FORMATS = {
    "toml": "seed = 1\n[stages.operator]\nepochs = 3\n[stages.operator.optimizer]\nname = 'adam'\nlearning_rate = 1\n",
    "yaml": "seed: 1\nstages:\n  operator:\n    epochs: 3\n    optimizer:\n      learning_rate: 1\n",
    "json": '{"seed": 1,\n "stages":\n {"operator":\n {"epochs": 3,\n "optimizer":\n {"learning_rate": 1}}}}',
}


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
def test_the_line_of_an_unknown_key_is_named_in_every_format(load, tmp_path, suffix):
    (tmp_path / f"mine.{suffix}").write_text(TABLE_IN_FORMATS[suffix])
    [line] = mistakes(load, config=Path(f"mine.{suffix}"))
    assert line.startswith(f"--config mine.{suffix}, line 6: stages.operator.optimizer.learning_rate is no known key")


def test_all_mistakes_of_all_layers_are_told_at_once(load, tmp_path):
    (tmp_path / "ups.toml").write_text("[training]\nbatchsize = 3\nlog_interval = 'often'\n")
    lines = mistakes(load, overrides=["seed=x", "latent.dims=3"], env={"UPS_TRAINING__EPOCH": "1"})
    assert len(lines) == 5
    assert lines[0] == "ups.toml, line 2: training.batchsize is no known key; the nearest is training.batch_size"
    assert 'seed = "x" (--set) must be a whole number' in lines
    assert 'training.log_interval = "often" (ups.toml, line 3) must be a number above 0' in lines


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("training.batch_size=0", "training.batch_size = 0 (--set) must be a whole number above 0"),
        ("training.batch_size=1.5", "training.batch_size = 1.5 (--set) must be a whole number above 0"),
        ("training.batch_size=true", "--set: training.batch_size = true must be a whole number above 0"),
        ("training.batch_size=", "training.batch_size = nothing (--set) must be a whole number above 0"),
        ("training.lambda_forward=nan", "training.lambda_forward = nan (--set) must be a number of at least 0"),
        ("training.compile=maybe", 'training.compile = "maybe" (--set) must be true or false'),
        ("data.frames=1", "data.frames = 1 (--set) must be a whole number of at least 2, or unset"),
        ("data.fields=u", 'data.fields = "u" (--set) must be a list, each entry a text'),
        ("data.exclude=[1, 'x']", 'data.exclude[1] = "x" (--set) must be a whole number'),
        (
            "training.optimizer.betas=[0.9, 1.0]",
            "training.optimizer.betas[1] = 1.0 (--set) must be a number of at least 0 and below 1",
        ),
        ("latent.residency=tape", 'latent.residency = "tape" (--set) must be one of auto, gpu, ram, disk, on_the_fly'),
        ("stages.evaluation.epochs=2", "stages.evaluation.epochs = 2 (--set) must be a whole number of at least 0 and"),
        ("training=3", "--set: training is a table and cannot be 3; set the keys in it, such as training.batch_size"),
        (
            "stages.operator.curriculum=[{from_epoch=-1, rollout_horizon=2}]",
            "stages.operator.curriculum[0].from_epoch = -1 (--set) must be a whole number of at least 0",
        ),
        (
            "stages.operator.curriculum=[{from_epoch=1, rollout=2, rollout_horizon=2}]",
            "stages.operator.curriculum[0].rollout is no known key (--set); stages.operator.curriculum must be a list,",
        ),
    ],
)
def test_a_value_that_is_not_allowed_is_told_in_one_line(load, assignment, line):
    [told] = mistakes(load, overrides=[assignment])  # one line although five stages fall back to `training`
    assert told.startswith(line)


def test_mistakes_between_keys_name_the_layers_of_both(load, tmp_path):
    (tmp_path / "ups.toml").write_text("[stages.operator]\nepochs = 3\nscheduler.warmup_epochs = 5\n")
    assert mistakes(load, overrides=["models.operator.heads=7"]) == [
        "models.operator: hidden = 64 does not divide into 7 heads of even width; the nearest that does is 70"
        " (hidden: settings/default.toml, line 36; heads: --set)",
        "stages.operator: a warm-up of 5 epochs does not fit into 3 epochs; lower scheduler.warmup_epochs or raise"
        " epochs (epochs: ups.toml, line 2; scheduler.warmup_epochs: ups.toml, line 3)",
    ]


def test_inverse_losses_that_never_start_are_refused(load):
    [line] = mistakes(
        load, overrides=["training.use_inverse_losses=true", "training.lambda_inv_enc=1", "stages.operator.epochs=4"]
    )
    assert line.startswith("training.inverse_loss_warmup_epochs = 15 leaves no epoch of the operator's 4")
    [line] = mistakes(load, overrides=["training.use_inverse_losses=true"])
    assert "training: use_inverse_losses is on but both weights are 0" in line


NO_LOSS = [f"training.lambda_{term}=0" for term in ("forward", "spectral", "relative", "decoded")]


@pytest.mark.parametrize(
    ("stage", "overrides"),
    [
        ("operator", []),
        ("operator", ["training.lambda_rollout=1", "stages.operator.curriculum=[{from_epoch=1, rollout_horizon=2}]"]),
        (
            "operator",
            ["training.use_inverse_losses=true", "training.lambda_inv_enc=1", "training.inverse_loss_warmup_epochs=3"],
        ),
        ("steady_prior", ["training.rollout_horizon=2", "training.lambda_rollout=1"]),
    ],
)
def test_steps_without_any_loss_are_refused(load, stage, overrides):
    [line] = mistakes(load, overrides=[*NO_LOSS, *overrides])
    assert line.startswith(f"stages.{stage} has steps without any loss; give one of training.lambda_forward,")


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.lambda_relative=1"],
        ["training.rollout_horizon=2", "training.lambda_rollout=1", "stages.steady_prior.epochs=0"],
        ["stages.operator.epochs=0", "stages.steady_prior.epochs=0"],
        [
            "training.use_inverse_losses=true",
            "training.lambda_inv_dec=1",
            "training.inverse_loss_warmup_epochs=0",
            "stages.steady_prior.epochs=0",
        ],
    ],
)
def test_a_loss_other_than_the_first_step_may_stand_alone(load, overrides):
    assert load(overrides=[*NO_LOSS, *overrides]).settings.training.lambda_forward == 0


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("UPS_TRAINING_BATCH_SIZE", "training.batch_size"),
        ("UPS_BATCHSIZE", "training.batch_size"),
        ("UPS_RESIDENCY", "latent.residency"),
    ],
)
def test_a_variable_without_its_double_underscore_is_not_passed_over(load, variable, key):
    [line] = mistakes(load, env={variable: "8"})
    assert line == f"environment {variable} is no setting; the nearest key is {key}"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.toml", "seed = \n", "a.toml is not valid TOML: Invalid value (at line 1, column 8)"),
        ("a.toml", "seed = 1\nseed = 2\n", "a.toml is not valid TOML: Cannot overwrite a value (at line 2"),
        ("a.yaml", "seed: [1\n", "a.yaml is not valid YAML: expected ',' or ']'"),
        ("a.yaml", "seed: 1\nseed: 2\n", "a.yaml, line 2: seed stands a second time, after line 1"),
        ("a.yaml", "- 1\n", "a.yaml holds no table of settings"),
        ("a.json", '{"seed": 1,}', "a.json is not valid JSON: "),
        ("a.json", '{"seed": 1, "seed": 2}', "a.json: seed stands twice in one table"),
        ("a.ini", "seed=1", "a.ini is no settings file"),
        ("a.toml", b"seed = '\xff'", "a.toml is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(load, tmp_path, name, text, expected):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    [line] = mistakes(load, config=Path(name))
    assert line.startswith(expected)


def test_a_byte_order_mark_and_tabs_in_json_are_no_mistakes(load, tmp_path):
    (tmp_path / "ups.toml").write_bytes(b"\xef\xbb\xbfseed = 3\r\n")
    (tmp_path / "a.json").write_text('{\n\t"latent": {\n\t\t"dim": 4\n\t}\n}')
    resolved = load(config=Path("a.json"))
    assert (resolved.settings.seed, resolved.settings.latent.dim) == (3, 4)


def test_assignments_without_a_value_or_key_are_refused(load):
    assert mistakes(load, overrides=["training.batch_size"]) == ["--set training.batch_size: expected KEY=VALUE"]
    assert mistakes(load, overrides=["=3"]) == ["--set =3: expected KEY=VALUE"]


def test_a_key_set_twice_under_two_spellings_is_refused(load, tmp_path):
    (tmp_path / "a.yaml").write_text("training.batch_size: 8\n")
    assert load(config=Path("a.yaml")).settings.training.batch_size == 8
    (tmp_path / "a.yaml").write_text("training.batch_size: 8\ntraining:\n  batch_size: 9\n")
    [line] = mistakes(load, config=Path("a.yaml"))
    assert line.startswith("--config a.yaml, line 3: training.batch_size sets the same as training.batch_size")


def test_values_that_could_not_be_archived_are_refused(load):
    assert mistakes(load, env={"UPS_DATA__PATH": "/a\udcff"}) == [
        "environment UPS_DATA__PATH: data.path holds bytes that are not UTF-8"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  batch_size: 064", "line 2: YAML reads 064 as octal, which is 52"),
        ("training: {batch_size: 1:30}", "line 1: YAML reads 1:30 to base 60, which is 90"),
        ("training: {optimizer: {lr: -1:30.5}}", "line 1: YAML reads -1:30.5 to base 60, which is -90.5"),
        ("seed: !!int '0_17'", "line 1: YAML reads 0_17 as octal, which is 15"),
        ("seed: 1\ndata:\n  exclude: [7, 010]", "line 3: YAML reads 010 as octal, which is 8"),
        ("data:\n  generate:\n    parameters: {nu: 0010}", "line 3: YAML reads 0010 as octal, which is 8"),
        ("runs:\n  name: 12:30:00", "line 2: YAML reads 12:30:00 to base 60, which is 45000"),
        ("? 064\n: 1", "line 1: YAML reads 064 as octal, which is 52"),
    ],
)
def test_numbers_that_yaml_alone_reads_to_another_base_are_refused(load, tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text + "\n")
    with pytest.raises(SettingsError) as caught:
        load(config=Path("a.yaml"))
    assert caught.value.message == f"a.yaml, {message}"
    assert "without leading zeros" in caught.value.hint


@pytest.mark.parametrize("number", ["0", "-0", "16", "1_000", "0x1F", "0b101", "0.5", "5e-3", "1e3", "1.5e+3", "+7"])
def test_a_number_in_yaml_is_what_toml_reads(load, tmp_path, number):
    read = {}
    for suffix, text in (("toml", "data.generate.parameters.nu = {}"), ("yaml", "data.generate.parameters.nu: {}")):
        (tmp_path / f"a.{suffix}").write_text(text.format(number) + "\n")
        read[suffix] = load(config=Path(f"a.{suffix}")).settings.data.generate.parameters["nu"]
    assert read["yaml"] == read["toml"] == tomllib.loads(f"x = {number}")["x"]


def test_texts_with_colons_and_zeros_stay_texts_in_yaml(load, tmp_path):
    (tmp_path / "a.yaml").write_text("data: {task: '064', path: 'c:/064.h5'}\nruns: {name: '0130'}\n")
    settings = load(config=Path("a.yaml")).settings
    assert (settings.data.task, Path(settings.data.path).name, settings.runs.name) == ("064", "064.h5", "0130")
