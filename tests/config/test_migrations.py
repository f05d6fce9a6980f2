"""Settings files of the earlier research code go through `--config`, with a notice for every key that moved."""

from pathlib import Path

import pytest

from ups_engine.config import migrations
from ups_engine.config.migrations import Dropped, Migration, Moved, translate
from ups_engine.errors import SettingsError

EXAMPLE = """\
data: {task: burgers1d, split: train, root: /path/to/pdebench, field_name: u, patch_size: 4}
latent: {dim: 16, tokens: 32}
training:
  {batch_size: 16, amp: true, compile: true, grad_clip: 1.0, ema_decay: 0.999, dt: 0.1, patience: 10, accum_steps: 4,
   num_workers: 8, time_stride: 2, rollout_horizon: 1, use_inverse_losses: false, lambda_forward: 1.0,
   latent_cache_dir: data/latent_cache, latent_cache_dtype: float16,
   tau_distribution: {type: beta, alpha: 1.2, beta: 1.2}}
stages:
  operator: {epochs: 25, optimizer: {name: adamw, lr: 1.0e-3, weight_decay: 0.03},
             scheduler: {name: cosineannealinglr, t_max: 25}}
"""


def test_the_yaml_of_earlier_users_is_accepted_with_a_notice_for_every_translated_key(load, tmp_path):
    (tmp_path / "old.yaml").write_text(EXAMPLE)
    resolved = load(config=Path("old.yaml"))
    settings, training = resolved.settings, resolved.settings.training
    assert (settings.data.root, settings.data.fields, settings.data.patch_size) == ("/path/to/pdebench", ("u",), 4)
    assert (settings.data.dt, settings.data.time_stride) == (0.1, 2)
    assert (settings.latent.cache_dir, settings.latent.cache_dtype) == ("data/latent_cache", "float16")
    assert (training.precision, training.compile, training.accum_steps, training.patience) == ("bf16", True, 4, 10)
    operator = settings.stages.operator
    assert (operator.epochs, operator.optimizer.lr, operator.optimizer.weight_decay) == (25, 1e-3, 0.03)
    assert (operator.scheduler.t_max, operator.batch_size, operator.patience) == (25, 16, 10)
    assert settings.stages.diff_residual.tau_distribution.type == "beta"
    assert [notice.removeprefix("--config old.yaml, ") for notice in resolved.notices] == [
        "line 1: data.split has no effect: UPS trains on the training split and draws all three",
        'line 1: data.field_name is now data.fields = ["u"]',
        'line 4: training.amp is now training.precision = "bf16"',
        "line 4: training.dt is now data.dt",
        "line 5: training.num_workers has no effect: batches are gathered from memory, so there are no loader"
        " processes to set up",
        "line 5: training.time_stride is now data.time_stride",
        "line 6: training.latent_cache_dir is now latent.cache_dir",
        "line 6: training.latent_cache_dtype is now latent.cache_dtype",
    ]
    assert resolved.origins["latent.cache_dir"] == "--config old.yaml"


def test_the_global_optimizer_and_scheduler_sections_are_those_of_training(load, tmp_path):
    (tmp_path / "old.yaml").write_text("optimizer: {lr: 0.5}\nscheduler: {name: steplr, step_size: 2, gamma: 0.1}\n")
    resolved = load(config=Path("old.yaml"))
    assert resolved.settings.stages.operator.optimizer.lr == 0.5
    assert resolved.settings.training.scheduler.step_size == 2
    assert len(resolved.notices) == 4


def test_earlier_keys_are_translated_in_every_layer(load):
    resolved = load(overrides=["training.amp=false"], env={"UPS_TRAINING__TIME_STRIDE": "3"})
    assert (resolved.settings.training.precision, resolved.settings.data.time_stride) == ("fp32", 3)
    assert resolved.origins["data.time_stride"] == "environment UPS_TRAINING__TIME_STRIDE"


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("data: {split: test}", 'line 1: data.split = "test" can only be train'),
        ("training: {amp: fp8}", 'line 1: training.amp = "fp8" must be true or false'),
        (
            "training:\n  latent_cache_dtype: int8",
            'latent.cache_dtype = "int8" (--config old.yaml, line 2, as training.latent_cache_dtype) must be one of',
        ),
        ("data: {field_name: u, fields: [v]}", "data.fields sets the same as data.field_name; keep one of the two"),
        ("operator: {pdet: {depths: [1, 1]}}", "line 1: operator is no known key; the nearest is models.operator"),
        ("ttc: {enabled: true}", "line 1: ttc is no known key; the nearest is "),
        ("training: {dropout: 0.1}", "line 1: training.dropout is no known key; the nearest is "),
    ],
)
def test_what_has_no_meaning_here_is_refused(load, tmp_path, text, mistake):
    (tmp_path / "old.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(config=Path("old.yaml"))
    assert mistake in caught.value.message
    assert "\n" not in caught.value.message


STEPS = (
    Migration(1, {"old.a": Moved("middle.a", lambda value: value + 1), "old.b": Moved("middle.b")}),
    Migration(2, {"middle.b": Dropped("has no effect"), "new.units": Moved("new.units", lambda value: value * 60)}),
    Migration(3, {}, tables={"middle": "new"}),
)


@pytest.mark.parametrize(
    ("key", "version", "now", "notice"),
    [
        ("old.a", 0, ("new.a", 8), "old.a is now new.a = 8"),
        ("middle.a", 1, ("new.a", 7), "middle.a is now new.a"),
        ("old.b", 0, (None, None), "old.b has no effect"),
        ("middle.b", 2, ("new.b", 7), "middle.b is now new.b"),
        ("new.units", 1, ("new.units", 420), "new.units is now new.units = 420"),
    ],
)
def test_a_key_goes_through_every_migration_since_its_version(monkeypatch, key, version, now, notice):
    monkeypatch.setattr(migrations, "MIGRATIONS", STEPS)
    translation = translate(key, 7, version, "burgers1d")
    assert (translation.key, translation.value) == now
    assert translation.notice == notice


def test_what_did_not_change_since_its_version_needs_no_translation(monkeypatch):
    monkeypatch.setattr(migrations, "MIGRATIONS", STEPS)
    assert translate("new.units", 7, 2, "burgers1d") is None
    assert translate("old.a", 7, 1, "burgers1d") is None
