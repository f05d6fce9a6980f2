"""Messages that threads send to the interface."""

from textual.message import Message


class Told(Message):
    """A sentence for the user."""

    def __init__(self, text: str, *, problem: bool) -> None:
        super().__init__()
        self.text = text
        self.problem = problem
