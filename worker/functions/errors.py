"""What a function did wrong, in words that quote nothing of a request and may be logged."""


class WrongValue(Exception):
    """A function has yielded what has no place in an answer. The text names types only."""


class TaskExited(Exception):
    """A task that a function began has raised SystemExit or KeyboardInterrupt."""


class CheckpointTooLate(RuntimeError):
    """A function's answer has ended, or belongs to another worker, so no state can be kept."""

    def __init__(self) -> None:
        super().__init__(
            "the answer has ended for this function, so no checkpoint can be kept: await it before"
            " the function returns"
        )


class WrongCheckpoint(Exception):
    """A function's state cannot be kept as a checkpoint. The text names types and sizes only."""
