"""The end of a run's log.txt, followed."""

from collections import deque
from pathlib import Path

KEPT = 5000
"""Lines."""
_FIRST_LOOK = 1 << 20
_LOOK = 4 << 20


class LogTail:
    """Follows a growing text file from its end; of a long one it takes the last megabyte.

    Args:
        path: need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset: int | None = None
        self._torn = b""
        self.lines: deque[str] = deque(maxlen=KEPT)
        """The latest whole lines."""

    def poll(self) -> None:
        """Add the lines that are new to `lines`.

        Raises:
            OSError: the file is there and cannot be read.
        """
        cut = False
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                if self._offset is None or size < self._offset:  # new to us, or somebody emptied it
                    self._offset, self._torn = max(0, size - _FIRST_LOOK), b""
                    self.lines.clear()
                    cut = self._offset > 0
                file.seek(max(self._offset, size - _LOOK))
                text = self._torn + file.read()
                self._offset = size
        except FileNotFoundError:
            return
        whole, _, self._torn = text.rpartition(b"\n")
        self.lines.extend(whole.decode("utf-8", "replace").split("\n")[1 if cut else 0 :] if whole else ())
