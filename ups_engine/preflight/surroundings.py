"""What happens to a run when its user logs out, and where it could report to."""

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ups_engine.preflight.verdict import Finding

_LOGIND = tuple(Path(folder) for folder in ("/usr/lib/systemd", "/run/systemd", "/etc/systemd"))
"""Folders of logind's settings, the later over the earlier."""
_PATIENCE = 2.0  # s for the system bus to answer


def check_logout(
    *, running: Path = Path("/run/systemd/system"), folders: Sequence[Path] = _LOGIND, ask: bool = True
) -> Finding:
    """Whether logind would kill a detached run at logout.

    Args:
        running: exists where systemd runs.
        folders: of logind's settings.
        ask: the system bus, which knows what is in force; else only the files are read.
    """
    if not running.is_dir():
        return "good", "systemd does not run here, so nothing ends a detached run at logout"
    settings = logind_settings(folders)
    answer = _asked() if ask else None
    kills = answer if answer is not None else settings.get("KillUserProcesses", "no") in ("yes", "true", "1", "on")
    user = _user()
    only, spared = settings.get("KillOnlyUsers", "").split(), settings.get("KillExcludeUsers", "root").split()
    if not kills or user in spared or (only and user not in only):
        return "good", "detached runs go on after logout (logind's KillUserProcesses is off for you)"
    return (
        "warning",
        "logind ends every process at logout (KillUserProcesses=yes), detached runs too: run `loginctl enable-linger`"
        " once and start with `systemd-run --user --scope ups train --detach`, or ask for KillUserProcesses=no",
    )


def logind_settings(folders: Sequence[Path]) -> dict[str, str]:
    """The keys of `logind.conf` and the files that add to it; the last one that sets a key counts.

    Args:
        folders: that may hold `logind.conf` and `logind.conf.d`, the later over the earlier.
    """
    found: dict[str, str] = {}
    main = [folder / "logind.conf" for folder in folders]
    extra = {path.name: path for folder in folders for path in (folder / "logind.conf.d").glob("*.conf")}
    for path in [*[path for path in main if path.is_file()][-1:], *(extra[name] for name in sorted(extra))]:
        with suppress(OSError):
            for match in re.finditer(r"^[ \t]*(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", path.read_text(), re.MULTILINE):
                found[match[1]] = match[2]
    return found


def check_wandb(environment: Mapping[str, str] | None = None, netrc: Path | None = None) -> Finding:
    """How Weights & Biases would work, without asking the network.

    Args:
        environment: searched for its variables; None means the process's own.
        netrc: where a login is kept; None means the user's.
    """
    env = os.environ if environment is None else environment
    try:
        installed = f"wandb {version('wandb')}"
    except PackageNotFoundError:
        return "good", "wandb is not installed, and runs keep their own record"
    mode = env.get("WANDB_MODE", "")
    key = env.get("WANDB_API_KEY") or env.get("UPS_SECRETS__WANDB_API_KEY")
    if env.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes") or mode == "disabled":
        how = "is switched off by the environment"
    elif mode in ("offline", "dryrun"):
        how = f"would work offline (WANDB_MODE={mode})"
    elif key or _logged_in(netrc or Path.home() / ".netrc"):
        how = "would work online, with the key that was found"
    else:
        how = (
            "has no key here: `wandb login` gives it one, WANDB_MODE=offline does without; runs keep their own record"
            " in any case"
        )
    return "good", f"{installed} {how}"


def _logged_in(netrc: Path) -> bool:
    try:
        return "api.wandb.ai" in netrc.read_text()
    except OSError:
        return False


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name
        return str(os.getuid())


def _asked() -> bool | None:
    """What logind itself says; None where it cannot be asked."""
    program = shutil.which("busctl")
    if program is None:
        return None
    place = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
    command = [program, "--system", "get-property", *place, "KillUserProcesses"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"b true": True, "b false": False}.get(done.stdout.strip())
