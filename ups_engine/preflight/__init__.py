"""What would stop or hamper a run, found out before it starts and without changing anything."""

from ups_engine.preflight.checks import preflight
from ups_engine.preflight.verdict import Check, Preflight, Verdict

__all__ = ["Check", "Preflight", "Verdict", "preflight"]
