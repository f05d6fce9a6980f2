"""Errors a user can cause. Each carries what happened, what to do next, and the exit code it ends the program with."""


class UpsError(Exception):
    """Something the user can mend.

    Args:
        message: what is wrong, in one line, naming the file, key or run concerned.
        hint: what to do next, in one line.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class SettingsError(UpsError):
    """A setting is unknown, out of range, or does not go with another one."""

    exit_code = 2


class UsageError(UpsError):
    """A command was called in a way that cannot work."""

    exit_code = 2


class DataError(UpsError):
    """A data file is missing, unreadable, foreign, or holds values that cannot be trained on."""


class RunError(UpsError):
    """A run directory is missing, damaged, or owned by another live process."""


class CheckpointError(UpsError):
    """A checkpoint is missing, damaged, or belongs to other settings."""


class TrainingError(UpsError):
    """Training cannot go on: the loss stays non-finite, or a stage lacks what it needs."""


class CacheError(UpsError):
    """A latent cache is incomplete or damaged, or cannot be built."""
