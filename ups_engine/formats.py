"""Versions of the files that UPS writes.

Each format counts its own versions from 1. A file of an earlier version is read, if need be through migrations; one of
a later version was written by a newer UPS, which alone knows what it means, and is refused.
"""

from ups_engine.errors import UpsError


class FormatError(UpsError):
    """A file was written by a newer UPS."""


def require_known(what: str, found: object, known: int, where: str) -> int:
    """Make sure that a version is one that this program reads.

    Args:
        what: the format, such as `evaluation report`.
        found: the version that the file states; None, which the first versions left out, is 1.
        known: the latest version that this program reads.
        where: the file, for the message.

    Returns:
        The version.

    Raises:
        FormatError: it is later, or no version at all.
    """
    version = 1 if found is None else found
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise FormatError(f"{where}: {found!r} is no version of the format `{what}`", "restore the file from a copy")
    if version > known:
        raise FormatError(
            f"{where} ({what}) is of version {version}; this UPS reads up to version {known}",
            "it was written by a newer UPS: use that one, or update this one",
        )
    return version
