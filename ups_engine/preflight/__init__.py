"""What would stop or hamper training on this machine, or one run of it, found out without changing anything."""

from ups_engine.preflight.checks import preflight
from ups_engine.preflight.doctor import examine_machine
from ups_engine.preflight.verdict import Check, Finding, Preflight, attempt, said

__all__ = ["Check", "Finding", "Preflight", "attempt", "examine_machine", "preflight", "said"]
