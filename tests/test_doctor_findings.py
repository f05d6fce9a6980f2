"""Every finding of the doctor: what it looks at, and the remedy in its sentence."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from ups_engine.config.layers import load_settings
from ups_engine.preflight import attempt, examine_machine
from ups_engine.preflight.machine import check_cgroups, check_cpu, check_gpus, check_ram, check_slurm
from ups_engine.preflight.places import check_place
from ups_engine.preflight.surroundings import check_logout, check_wandb, logind_settings
from ups_engine.telemetry import cgroups
from ups_engine.telemetry.gpu import GpuDevice
from ups_engine.telemetry.memory import MemoryBudget

GIB = 1 << 30


def look(check, *arguments, **named):
    return attempt("it", lambda: check(*arguments, **named))


def gpu(**changes: object) -> GpuDevice:
    figures = {"free_bytes": 30 * GIB, "total_bytes": 40 * GIB, "utilisation": 7.0, "temperature": 41.0, "power": 90.0}
    return GpuDevice(index=0, name="H200", uuid="GPU-0", **{**figures, **changes})


def test_this_machine_has_a_finding_of_every_kind_and_nothing_stops_training(tmp_path):
    settings = load_settings(env={}, overrides=[f"runs.root={tmp_path}/runs", f"data.root={tmp_path}/data"]).settings
    checks = {check.name: check for check in examine_machine(settings)}
    names = "python packages cuda gpu cpu ram cgroups slurm runs data cache logout wandb"
    assert list(checks) == names.split()
    assert all(check.verdict != "bad" for check in checks.values()), checks
    assert sys.executable in checks["python"].sentence and "torch 2." in checks["packages"].sentence
    assert str(tmp_path / "data/latent_cache") in checks["cache"].sentence
    assert list(tmp_path.iterdir()) == [], "looking left something behind"


def test_without_settings_what_needs_none_is_still_told():
    names = {check.name for check in examine_machine(None)}
    assert {"python", "ram", "logout"} <= names and not {"runs", "data", "cache"} & names


def test_a_device_that_is_not_there_would_stop_training():
    settings = load_settings(env={}, overrides=["runtime.device=cuda:99"]).settings
    (cuda,) = [check for check in examine_machine(settings) if check.name == "cuda"]
    assert cuda.verdict == "bad" and "use auto or cpu" in cuda.sentence


def test_gpus_say_what_room_they_have_for_latents():
    found = look(check_gpus, [gpu()])
    assert found.verdict == "good"
    assert "30.0 GiB of 40.0 GiB free, room for 27.0 GiB of latents, 7 % busy, 41 °C" in found.sentence
    hot = look(check_gpus, [gpu(temperature=90.0, utilisation=None)])
    assert hot.verdict == "warning" and "is hot" in hot.sentence
    assert "training runs on the CPU" in look(check_gpus, []).sentence


@pytest.mark.parametrize(
    "files",
    [
        {"membership": "0::/job/step", "job/cpu.max": "50000 100000", "job/step/cpu.max": "max 100000"},
        {
            "membership": "4:cpu,cpuacct:/job",
            "cpu/job/cpu.cfs_quota_us": "50000",
            "cpu/job/cpu.cfs_period_us": "100000",
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
        },
    ],
)
def test_a_quota_of_processor_time_is_found_in_either_version(tmp_path, monkeypatch, files):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(cgroups, "CGROUP_FILE", tmp_path / "membership")
    monkeypatch.setattr(cgroups, "CGROUP_ROOT", tmp_path)
    found = look(check_cpu)
    assert found.verdict == "warning"
    assert "allows the time of 0.5: use --set runtime.threads=1" in found.sentence
    (tmp_path / "membership").write_text("nonsense")
    assert look(check_cpu).verdict == "good"


def test_the_tightest_memory_is_told_and_every_control_group_listed():
    host = MemoryBudget(60 * GIB, "host memory", 64 * GIB)
    outer = MemoryBudget(20 * GIB, "cgroup /a (memory.max)", 32 * GIB)
    inner = MemoryBudget(GIB // 2, "cgroup /a/b (memory.max)", GIB)
    assert "room for 16.8 GiB of latents" in look(check_ram, [host, outer]).sentence
    tight = look(check_ram, [host, outer, inner])
    assert tight.verdict == "warning" and "under cgroup /a/b (memory.max)" in tight.sentence
    groups = look(check_cgroups, [host, outer, inner]).sentence
    assert "cgroup /a (memory.max) allows 32.0 GiB" in groups and "cgroup /a/b (memory.max) allows 1.00 GiB" in groups
    assert "no control group" in look(check_cgroups, [host]).sentence


def test_a_batch_job_is_told_how_to_end_well():
    budget = MemoryBudget(3 * GIB, "SLURM_MEM_PER_NODE", 4 * GIB)
    env = {"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "16", "SLURMD_NODENAME": "n01"}
    sentence = look(check_slurm, [budget], env).sentence
    assert "job 7 on n01, 16 cores, 4.00 GiB of memory by SLURM_MEM_PER_NODE" in sentence and "TERM@" in sentence
    assert look(check_slurm, [], {}).sentence == "this is no SLURM job"


def test_a_place_is_writable_with_locks_and_is_not_made(tmp_path):
    found = look(check_place, "cache", tmp_path / "deep/down")
    assert found.verdict == "good" and "writable, with file locks" in found.sentence
    assert not (tmp_path / "deep").exists()


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs a folder that even root cannot write to")
def test_a_place_that_refuses_is_bad_for_caches_and_fine_for_data_that_are_there(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    bad = look(check_place, "cache", Path("/proc/sys/caches"))
    assert bad.verdict == "bad" and "set latent.cache_dir to another folder" in bad.sentence
    assert look(check_place, "data", Path("/proc/sys")).verdict == "good"


def test_a_file_system_without_locks_stops_caches_and_warns_for_runs(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    bad, warning = look(check_place, "cache", tmp_path), look(check_place, "runs", tmp_path)
    assert bad.verdict == "bad" and "caches cannot be built there" in bad.sentence
    assert warning.verdict == "warning" and "No locks available" in warning.sentence


@pytest.mark.parametrize(("free", "verdict"), [(1 << 20, "bad"), (1 << 30, "warning"), (1 << 40, "good")])
def test_room_decides(tmp_path, monkeypatch, free, verdict):
    usage = psutil.disk_usage(str(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=free))
    assert look(check_place, "runs", tmp_path).verdict == verdict


def systemd(tmp_path: Path, files: dict[str, str]) -> dict[str, object]:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return {"running": tmp_path, "folders": (tmp_path / "usr", tmp_path / "run", tmp_path / "etc"), "ask": False}


def test_logind_that_kills_at_logout_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    where = systemd(tmp_path, {"etc/logind.conf": "[Login]\n#KillUserProcesses=no\nKillUserProcesses=yes\n"})
    found = look(check_logout, **where)
    assert found.verdict == "warning" and "loginctl enable-linger" in found.sentence
    monkeypatch.setenv("LOGNAME", "root")
    assert look(check_logout, **where).verdict == "good", "root is spared unless the settings say otherwise"


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({}, False),
        ({"usr/logind.conf": "KillUserProcesses=yes"}, True),
        ({"usr/logind.conf": "KillUserProcesses=yes", "etc/logind.conf": "[Login]\n"}, False),
        ({"etc/logind.conf": "KillUserProcesses=no", "usr/logind.conf.d/50-a.conf": "KillUserProcesses = yes"}, True),
        (
            {
                "usr/logind.conf.d/50-a.conf": "KillUserProcesses=yes",
                "etc/logind.conf.d/50-a.conf": "KillUserProcesses=no",
            },
            False,
        ),
        ({"etc/logind.conf": "KillUserProcesses=yes\nKillExcludeUsers=root ada"}, False),
        ({"etc/logind.conf": "KillUserProcesses=yes\nKillOnlyUsers=bob"}, False),
    ],
)
def test_the_last_of_logind_s_files_counts(tmp_path, monkeypatch, files, kills):
    monkeypatch.setenv("LOGNAME", "ada")
    assert (look(check_logout, **systemd(tmp_path, files)).verdict == "warning") is kills


def test_comments_in_logind_s_files_are_no_settings(tmp_path):
    (tmp_path / "logind.conf").write_text("# Kill=1\n;KillUserProcesses=yes\n[Login]\n HandleLidSwitch = ignore \n")
    assert logind_settings([tmp_path]) == {"HandleLidSwitch": "ignore"}


def test_without_systemd_nothing_ends_a_run(tmp_path):
    assert look(check_logout, running=tmp_path / "nowhere").verdict == "good"


@pytest.mark.parametrize(
    ("env", "netrc", "words"),
    [
        ({"WANDB_MODE": "disabled"}, "", "switched off"),
        ({"WANDB_MODE": "offline"}, "", "would work offline"),
        ({"WANDB_API_KEY": "k"}, "", "would work online"),
        ({"UPS_SECRETS__WANDB_API_KEY": "k"}, "", "would work online"),
        ({}, "machine api.wandb.ai\n", "would work online"),
        ({}, "machine example.org\n", "has no key here"),
    ],
)
def test_how_wandb_would_work(tmp_path, env, netrc, words):
    (tmp_path / "netrc").write_text(netrc)
    sentence = look(check_wandb, env, tmp_path / "netrc").sentence
    assert words in sentence and "k" not in sentence.split()
