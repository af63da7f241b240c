"""The turns of a conversation as they are kept in Redis, or longer in the history."""

from collections.abc import AsyncIterator, Iterator, Sequence

from tickertape.api.services import Services
from tickertape.broker.conversations import Conversation
from tickertape.broker.errors import RequestMissing
from tickertape.broker.turns import Turn

_PAGE_BYTES = 4 * 1024 * 1024


async def outline_of(
    services: Services, tenant: str, conversation_id: str
) -> tuple[Conversation, bool]:
    """The conversation, and whether its turns have their messages, as those of the history have.

    Raises RequestMissing if neither Redis nor the history has it.
    """
    try:
        return await services.conversations.outline(tenant, conversation_id), False
    except RequestMissing:
        past = await services.past.conversation(tenant, conversation_id)
        if past is None:
            raise
        return past, True


async def whole_pages(
    services: Services,
    tenant: str,
    conversation_id: str,
    turns: Sequence[Turn],
    *,
    is_whole: bool,
) -> AsyncIterator[list[Turn]]:
    """The turns with their messages, in pages that fit into memory."""
    for page in pages_of(turns):
        if is_whole:
            yield page
        else:
            yield await services.conversations.whole(tenant, conversation_id, page)


def pages_of(turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    """Pure: the turns in pages that fit into memory together, a larger turn by itself."""
    page: list[Turn] = []
    size = 0
    for turn in turns:
        if page and size + turn.size_bytes > _PAGE_BYTES:
            yield page
            page, size = [], 0
        page.append(turn)
        size += turn.size_bytes
    if page:
        yield page
