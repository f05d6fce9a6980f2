"""The hash by which files of a run are known."""

import hashlib


def checksum(data: bytes) -> str:
    """Give the SHA-256 of some bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
