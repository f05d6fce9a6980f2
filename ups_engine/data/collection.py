"""All that a run learns from: the members of a collection, each with its own step, conditions and normalisation."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ups_engine.data.member import Member
from ups_engine.data.survey import RECORD_VERSION

_LEARNED = ("fields", "strides", "frames", "dt", "splits", "normalisation", "scaling")


class Collection:
    """Members by name, in their order.

    Args:
        members: at least one.

    Raises:
        ValueError: none, or two of one name.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        names = [member.name for member in members]
        if not names or len({*names}) != len(names):
            raise ValueError(f"members {names}: one at least, and no name twice")

    def record(self) -> dict[str, Any]:
        """JSON: all that `prepare_data` needs to give the same collection again."""
        return {"version": RECORD_VERSION, "members": [member.record() for member in self.members]}

    def normalisation(self) -> dict[str, Any]:
        """JSON: that of the only member, or of several by their names."""
        if len(self.members) == 1:
            return dict(self.members[0].normalisation.to_json())
        return {member.name: member.normalisation.to_json() for member in self.members}

    def digest(self) -> str:
        """Hash of what is learned: fields, strides, splits and scaling. Where the files lie is not in it."""
        records = [member.record() for member in self.members]
        learned = [{key: record[key] for key in _LEARNED} for record in records]
        return hashlib.sha256(json.dumps(learned, sort_keys=True).encode()).hexdigest()
