"""In whose steps a stream runs that has a task of its own."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from starlette.types import Scope

T = TypeVar("T")

_NAME = "steps"


class RunInSteps(Protocol):
    """Awaits work, one step of it at a time."""

    def __call__(self, work: Awaitable[T]) -> Awaitable[T]: ...


def set_steps(scope: Scope, run: RunInSteps) -> None:
    """Let the tasks of a call run as `run` does, in the steps of the call's tenant."""
    scope.setdefault("state", {})[_NAME] = run


async def in_steps_of(scope: Scope, work: Callable[[], Awaitable[T]]) -> T:
    """Do the work of a task in the steps of the call that began the task, if it has any.

    A task that is cancelled before its first step has begun no work that nobody awaits.
    """
    run: RunInSteps | None = scope.get("state", {}).get(_NAME)
    return await (work() if run is None else run(work()))
