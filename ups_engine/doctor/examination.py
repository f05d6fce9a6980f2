"""All findings, in the order in which a user would mend them."""

from functools import partial
from pathlib import Path

from ups_engine.config.schema import Settings
from ups_engine.doctor.machine import check_cgroups, check_cpu, check_gpus, check_ram, check_slurm
from ups_engine.doctor.places import check_place
from ups_engine.doctor.software import check_cuda, check_packages, check_python
from ups_engine.doctor.surroundings import check_logout, check_wandb
from ups_engine.latents.location import cache_root
from ups_engine.preflight.verdict import Check, attempt
from ups_engine.telemetry.gpu import gpu_devices
from ups_engine.telemetry.memory import memory_budgets


def examine_machine(settings: Settings | None) -> list[Check]:
    """Look at software, devices, memory, places and surroundings. Probes of file locks leave nothing behind.

    Args:
        settings: current ones; None where they are broken, and then what depends on them is left out.
    """
    gpus, budgets = gpu_devices(), memory_budgets()
    checks = [attempt("python", check_python), attempt("packages", check_packages)]
    checks.append(attempt("cuda", lambda: check_cuda(gpus, None if settings is None else settings.runtime)))
    checks.append(attempt("gpu", lambda: check_gpus(gpus)))
    checks.append(attempt("cpu", check_cpu))
    checks.append(attempt("ram", lambda: check_ram(budgets)))
    checks.append(attempt("cgroups", lambda: check_cgroups(budgets)))
    checks.append(attempt("slurm", lambda: check_slurm(budgets)))
    if settings is not None:
        places = {
            "runs": Path(settings.runs.root),
            "data": Path(settings.data.path or settings.data.root),
            "cache": cache_root(settings),
        }
        checks += [attempt(name, partial(check_place, name, place)) for name, place in places.items()]
    return [*checks, attempt("logout", check_logout), attempt("wandb", check_wandb)]
