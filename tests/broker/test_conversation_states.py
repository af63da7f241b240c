"""The state of a conversation differs after whatever its readers are shown."""

from collections.abc import Awaitable

from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig, open_rig
from tickertape.broker.conversation_states import ConversationState, ConversationStates
from tickertape.broker.conversations import Conversations

NOTHING = ConversationState(0, None, (b"",) * 4)


class Watched:
    """A conversation, and its state after the last change."""

    def __init__(self, broker: Rig) -> None:
        self.conversations = Conversations(broker.connections, broker.settings)
        self.state = NOTHING

    async def changes_by(self, change: Awaitable[object]) -> None:
        before = self.state
        await change
        self.state = await self.read()
        assert self.state not in {before, NOTHING}

    async def read(self) -> ConversationState:
        return await self.conversations.state(*await self.conversations.place(TENANT, "c"))


async def test_each_change_of_the_title_or_the_turns_changes_the_state(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        watched = Watched(broker)
        assert await watched.read() == NOTHING
        await watched.changes_by(broker.begin(conversation_id="c"))
        held = await broker.submit(conversation_id="c")
        watched.state = await watched.read()
        await watched.changes_by(broker.requests.cancel(held, TENANT))
        await watched.changes_by(broker.submit(conversation_id="c"))
        await watched.changes_by(broker.finish(answered="yes"))
        await watched.changes_by(watched.conversations.rename(TENANT, "c", "Rome"))
        assert watched.state.title == "Rome"
        await broker.claim()
        await watched.changes_by(broker.finish(answered="no"))
        await watched.changes_by(broker.requests.erase(held, TENANT))
        await watched.conversations.forget(TENANT, "c")
        assert await watched.read() == NOTHING


async def test_a_turn_that_only_begins_to_be_answered_changes_nothing(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        await broker.begin(conversation_id="c")
        watched = Watched(broker)
        before = await watched.read()
        await broker.type("a", "b")
        assert await watched.read() == before


async def test_the_states_of_many_conversations_are_read_in_one_call(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        await broker.begin(conversation_id="c")
        conversations = Conversations(broker.connections, broker.settings)
        partition, key = await conversations.place(TENANT, "c")
        states = await ConversationStates(broker.connections).read(partition, ["x", key, "y"])
        assert [state.rows for state in states] == [0, 1, 0]
        await broker.connections.ask("DEL", KEYS.conversation(partition, key))
        (state,) = await ConversationStates(broker.connections).read(partition, [key])
        assert (state.rows, state.marks) == (1, (b"",) * 4)
