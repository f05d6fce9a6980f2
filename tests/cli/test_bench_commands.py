"""`ups bench`: strict JSON on stdout, a table for people, nothing left behind."""

import json

import pytest
from terminal import Terminal


@pytest.fixture
def terminal(tmp_path):
    return Terminal(tmp_path)


def test_the_cache_bench_tells_every_rate_beside_its_ceiling(terminal):
    done = terminal.run("bench", "cache", "--size", "8", "--pairs", "256", "--json", "--set", "runtime.device=cpu")
    report = json.loads(done.out)
    assert report["device"] == "cpu" and report["pairs"] == 256 and report["open_seconds"] < 5
    readings = {reading["name"]: reading for reading in report["readings"]}
    assert {"build", "memcpy", "plain gather", "ram", "disk, warm", "sequential file read, cold"} <= readings.keys()
    for reading in readings.values():
        if reading["ceilings"]:
            lowest = min(reading["ceilings"].values())
            assert reading["ceilings"][reading["bound"]] == lowest
            assert reading["share"] == pytest.approx(reading["bytes_per_second"] / lowest)
    assert sum(report["build"]["time_shares"].values()) == pytest.approx(1)
    assert set(readings["build"]["ceilings"]) == {"source alone", "encoder alone", "files alone"}
    caches = terminal.folder / "data" / "latent_cache"
    assert not list(caches.iterdir())
