"""Errors of a function's own classes, which may be made in any way."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

import tickertape
from tests.worker.jobs import codes
from tests.worker.test_functions import ended, terminal


class ShopClosed(tickertape.FunctionFailed):
    """Has a constructor of its own, which does not call that of FunctionFailed."""

    def __init__(self, shop: str) -> None:
        self.shop = shop


class Unreadable(tickertape.FunctionFailed):
    """Has no message that can be read."""

    @property
    def message(self) -> str:
        """The message, which needs what nobody has set."""
        raise KeyError("secret")

    @message.setter
    def message(self, message: str) -> None:
        """Forget the message."""


@pytest.mark.parametrize("error", [ShopClosed("secret"), Unreadable("secret")])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_failure_of_a_class_of_ones_own_never_completes_an_answer(error: Exception) -> None:
    @tickertape.function("f")
    async def refuse(_: tickertape.Request) -> AsyncIterator[str]:
        yield "half"
        raise error

    with capture_logs():
        queue = await ended(refuse)
    assert codes(queue) == [("failed", "function_failed")]
    assert terminal(queue)["message"] == "The function failed."
