"""Messages that threads send to the interface."""

from textual.message import Message

from ups_engine.runs.directory import RunDirectory
from ups_engine.runs.requests import Answer


class Answered(Message):
    """A command was sent to a run, or came to its outcome."""

    def __init__(self, run: RunDirectory, answer: Answer) -> None:
        super().__init__()
        self.run = run
        self.answer = answer


class Unanswered(Message):
    """A command could not be sent, or nobody answered it."""

    def __init__(self, run: RunDirectory, what: str, reason: str) -> None:
        super().__init__()
        self.run = run
        self.what = what
        self.reason = reason
