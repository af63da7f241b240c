"""Turns the errors of the client package into messages of a command."""

import contextlib
from collections.abc import Iterator

from tickertape.cli.exits import CommandFailed
from tickertape.cli.program import program_name
from tickertape.client import ApiUnreachable, AsyncClient, CallRefused


@contextlib.contextmanager
def as_command_failed(client: AsyncClient, url_option: str = "--url") -> Iterator[None]:
    """Raise CommandFailed for an API that does not answer or refuses the call in the block."""
    try:
        yield
    except CallRefused as refused:
        raise CommandFailed(refusal(refused)) from None
    except ApiUnreachable as error:
        raise CommandFailed(unreachable(client, error, url_option)) from None


def refusal(refused: CallRefused) -> str:
    """The message for a call that the API refused, with what the user can do."""
    if refused.status == 401:
        return f"{str(refused).rstrip('.')}. A key is given with --key or TICKERTAPE_API_KEY"
    return str(refused)


def unreachable(client: AsyncClient, error: ApiUnreachable, url_option: str = "--url") -> str:
    """The message for an API that did not answer, with what the user can do."""
    return f"{client.display_url}: {error}{how_to_reach(error, url_option)}"


def how_to_reach(error: BaseException | None, url_option: str = "--url") -> str:
    """What the user can do if no connection could be opened; else empty."""
    if not isinstance(error, ApiUnreachable) or error.was_reached:
        return ""
    return (
        f". Is `{program_name()} up` running? "
        f"Another server is named with {url_option} or TICKERTAPE_URL"
    )
