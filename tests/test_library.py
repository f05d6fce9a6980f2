"""The engine without the app: what the package promises on its first page."""

import subprocess
import sys

import ups_engine
from ups_engine import Observer, Outcome, evaluate_run, load_settings, open_context, run_pipeline, start_run


class Listener(Observer):
    def __init__(self):
        self.kinds, self.sentences, self.work = [], [], []

    def event(self, kind, stage, epoch, step, data):
        self.kinds.append((kind, stage))

    def notice(self, sentence):
        self.sentences.append(sentence)

    def progress(self, what, done, total):
        self.work.append((what, done, total))


def test_a_pipeline_runs_from_python_and_tells_an_observer_what_it_does(tiny_folder, monkeypatch, finished):
    monkeypatch.chdir(tiny_folder.folder)
    resolved = load_settings(preset="smoke", env={}, home=tiny_folder.folder)
    run = start_run(resolved.settings, origins=resolved.origins, argv=["notebook"])
    listener = Listener()
    assert run_pipeline(run, only=["autoencoder", "operator"], observers=[listener]) is Outcome.FINISHED
    assert listener.kinds[0] == ("run_started", None) and listener.kinds[-1] == ("run_finished", None)
    assert [stage for kind, stage in listener.kinds if kind == "stage_finished"] == ["autoencoder", "operator"]
    said = "\n".join(listener.sentences)
    assert "computing on the CPU" in said and "solving burgers1d: 10 trajectories, 32 points, 6 frames" in said
    assert "u on 32 points, 6 frames, dt 0.04; 8 trajectories train, 1 validate, 1 test" in said
    assert "latent residency ram: " in said and "free under" in said
    assert ("encoding train", 8, 8) in listener.work

    report, _ = evaluate_run(run)
    whole = finished.evaluation()["variants"]["operator"]["rollout"]
    assert report.variants["operator"].rollout.nrmse == whole["nrmse"]
    surrogate = open_context(run).surrogate()
    assert surrogate.evaluations_per_step == 1


def test_the_first_page_names_what_is_there():
    assert all(getattr(ups_engine, name) is not None for name in ups_engine.__all__)


def test_importing_the_engine_costs_nothing_and_an_unknown_name_is_an_attribute_error():
    code = (
        "import sys, ups_engine\n"
        "print([m for m in ('torch', 'numpy', 'typer', 'textual', 'rich') if m in sys.modules])\n"
        "ups_engine.nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]" and "AttributeError" in done.stderr
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, ups_engine.pipeline.run; print('typer' in sys.modules, 'rich' in sys.modules)",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "False False"
