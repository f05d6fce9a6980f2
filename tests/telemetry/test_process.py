"""A run's processes are found, threads' children and grandchildren too, and how busy they keep the machine."""

import os
import subprocess
import sys
import threading
import time

from ups_engine.pipeline.announcer import vital_signs
from ups_engine.runs import strict_json
from ups_engine.telemetry.process import CpuMeter, family

PARENT = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"


def test_the_family_is_this_process_its_children_and_theirs_and_nobody_else():
    started = []

    def start():
        started.append(subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pids = [(child.pid, int(child.stdout.readline())) for child in started]
    assert family() >= {os.getpid(), *(pid for pair in pids for pid in pair)}
    assert os.getppid() not in family()
    for child, (_, grandchild) in zip(started, pids, strict=True):
        os.kill(grandchild, 9)
        child.communicate()
    assert not family() & {pid for pair in pids for pid in pair}


def test_the_meter_tells_one_busy_thread_from_none():
    meter = CpuMeter()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    busy = meter.percent()
    assert 5.0 < busy < 130.0
    threading.Event().wait(0.2)
    assert meter.percent() < busy / 2


def test_a_heartbeat_has_ram_its_limit_and_the_processor_and_is_cheap():
    vital_signs(None)
    began = time.process_time()
    signs = vital_signs(12.5)
    assert time.process_time() - began < 0.05  # 1 ms without a GPU, on a machine with nothing else to do
    assert signs["ram_bytes"] > 0 and 0 < signs["ram_available_bytes"] <= signs["ram_total_bytes"]
    assert signs["ram_limit"] and signs["cpu_percent"] >= 0 and signs["throughput"] == 12.5
    assert strict_json.dumps(signs)
