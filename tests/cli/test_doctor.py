"""`ups doctor` as a user starts it."""

import json

import pytest
from terminal import Terminal


@pytest.fixture
def here(tmp_path):
    return Terminal(tmp_path)


def test_a_sound_machine_is_told_so(here):
    done = here.run("doctor")
    assert done.code == 0 and done.err == ""
    assert done.out.endswith("\nnothing here would stop training\n")
    assert [line.split()[1] for line in done.out.splitlines() if line.startswith(("good", "warning"))][:3] == [
        *("python", "packages", "cuda"),
    ]


def test_json_has_a_sentence_for_every_finding(here):
    done = here.run("doctor", "--json")
    report = json.loads(done.out)
    assert done.code == 0 and report["ready"] is True
    assert {check["verdict"] for check in report["checks"]} <= {"good", "warning"}
    assert {"ram", "cache", "terminal"} <= {check["name"] for check in report["checks"]}
    assert all(set(check) == {"name", "verdict", "sentence"} and check["sentence"] for check in report["checks"])


def test_what_would_stop_training_gives_code_one_and_no_traceback(here, tmp_path):
    done = here.run("doctor", "--set", "runtime.device=cuda:99")
    assert done.code == 1 and "cuda:99" in done.out and done.err == ""
    assert "something here would stop training" in done.out
    (tmp_path / "ups.toml").write_text("nonsense = 1\n")
    done = here.run("doctor", "--json")
    assert done.code == 1 and json.loads(done.out)["checks"][0]["name"] == "settings"
