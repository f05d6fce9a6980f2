"""All that a run learns from: the members of a collection, each with its own step, conditions and normalisation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ups_engine.data.member import Member
from ups_engine.formats import require_known

RECORD_VERSION = 2
"""Of a run's data record. Version 1 was the record of the only member, with `grid` for `discretisation` and
`conditioning` for `scaling`."""


class Collection:
    """Members by name, in their order.

    Args:
        members: at least one.

    Raises:
        ValueError: none, or two of one name.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self._by_name = {member.name: member for member in members}
        if not members or len(self._by_name) != len(members):
            raise ValueError(f"members {[member.name for member in members]}: one at least, and no name twice")

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, name: str) -> Member:
        return self._by_name[name]

    def record(self) -> dict[str, Any]:
        """JSON: all that `prepare_data` needs to give the same collection again."""
        return {"version": RECORD_VERSION, "members": [member.record() for member in self.members]}

    def normalisation(self) -> dict[str, Any]:
        """JSON: that of the only member, or of several by their names."""
        if len(self.members) == 1:
            return dict(self.members[0].normalisation.to_json())
        return {member.name: member.normalisation.to_json() for member in self.members}

    def close(self) -> None:
        """Close file handles; the next read opens them again."""
        for member in self.members:
            member.close()


def recorded_members(record: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The records of the members in what `Collection.record` gave, now or in an earlier version.

    Raises:
        FormatError: it was written by a newer UPS.
    """
    if require_known("data record", record.get("version"), RECORD_VERSION, "the run's data.json") > 1:
        return tuple(record["members"])
    renamed = {"grid": "discretisation", "conditioning": "scaling"}
    member = {renamed.get(key, key): value for key, value in record.items() if key != "version"}
    member["discretisation"] = {"kind": "grid", **member["discretisation"]}
    return ({"name": member["task"], **member},)
