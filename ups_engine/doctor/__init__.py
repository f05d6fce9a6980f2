"""What is known of this machine, as far as training depends on it: findings, each a sentence with what to do."""

from ups_engine.doctor.examination import examine_machine

__all__ = ["examine_machine"]
