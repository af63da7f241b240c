"""The turns of a conversation with their messages, read as the API reads them."""

from dataclasses import replace

from tickertape.broker.conversations import Conversation, Conversations
from tickertape.broker.turns import Turn


async def whole_conversation(
    conversations: Conversations, tenant: str, conversation_id: str
) -> Conversation:
    """The conversation; raises RequestMissing when there is none."""
    found = await conversations.outline(tenant, conversation_id)
    turns = await conversations.whole(tenant, conversation_id, found.turns)
    return replace(found, turns=turns)


async def whole_turns(conversations: Conversations, partition: int, key: str) -> list[Turn]:
    """All turns at a place, replaced ones included."""
    outlines = await conversations.outlines(partition, key)
    return await conversations.whole_at(partition, key, outlines)
