"""What a conversation remembers, and for whom."""

import pytest

from broker.codec import encode_data
from broker.conversations import Conversations, Turn, memory
from broker.errors import RequestMissing
from broker.queue import Lease
from tests.broker.live import Live, live

ASKED = [{"role": "user", "content": "hé?"}]


async def answer(broker: Live, lease: Lease, text: str) -> None:
    done = [encode_data("completed", {})]
    await broker.queue.finish(lease, "completed", 1, done, answered=text)


async def test_turns_are_remembered_in_the_order_they_were_asked(redis_url: str) -> None:
    async with live(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        first = await broker.submit(conversation_id="c", question=ASKED)
        second = await broker.submit(conversation_id="c", question=ASKED)
        await answer(broker, await broker.take(), "é!")
        conversation = await conversations.get("t", "c")
        assert conversation.turns == [Turn(first, ASKED, "é!"), Turn(second, ASKED, None)]
        assert conversation.active_request_id == second
        await answer(broker, await broker.take(), "")
        conversation = await conversations.get("t", "c")
        assert conversation.active_request_id is None
        assert [turn.answered for turn in conversation.turns] == ["é!", ""]


async def test_the_active_request_is_known_without_reading_the_turns(redis_url: str) -> None:
    async with live(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        assert await conversations.active("t", "c") is None
        lease = await broker.lease(conversation_id="c")
        assert await conversations.active("t", "c") == lease.request_id
        assert await conversations.active("another", "c") is None
        await answer(broker, lease, "yes")
        assert await conversations.active("t", "c") is None


async def test_a_worker_finds_the_turns_by_what_its_lease_says(redis_url: str) -> None:
    async with live(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        first = await broker.lease(conversation_id="c", question=ASKED)
        await answer(broker, first, "yes")
        lease = await broker.lease(conversation_id="c", question=ASKED)
        turns = await conversations.turns(0, lease.conversation)
        assert memory(turns, lease.request_id) == [
            *ASKED,
            {"role": "assistant", "content": "yes"},
        ]


async def test_a_conversation_is_known_to_its_tenant_only(redis_url: str) -> None:
    async with live(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        await broker.submit("t", conversation_id="c")
        for call in (conversations.get, conversations.forget):
            with pytest.raises(RequestMissing, match="conversation"):
                await call("u", "c")
        await broker.submit("u", conversation_id="c")
        assert await conversations.forget("u", "c") == 1
        assert len((await conversations.get("t", "c")).turns) == 1


async def test_a_forgotten_conversation_begins_anew(redis_url: str) -> None:
    async with live(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        await answer(broker, await broker.lease(conversation_id="c", question=ASKED), "yes")
        waiting = await broker.submit(conversation_id="c", question=ASKED)
        assert await conversations.forget("t", "c") == 2
        with pytest.raises(RequestMissing):
            await conversations.get("t", "c")
        with pytest.raises(RequestMissing):
            await broker.requests.get(waiting, "t")
        await broker.submit(conversation_id="c", question=ASKED)
        [turn] = (await conversations.get("t", "c")).turns
        assert turn.answered is None


async def test_a_long_conversation_forgets_its_oldest_turns(redis_url: str) -> None:
    async with live(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        await broker.submit(conversation_id="c", question=ASKED)
        _, key = conversations.place("t", "c")
        await broker.connections.ask_all(
            [
                ("XADD", f"{{p0}}:conv:{key}:turns", "*", "id", f"r{n}", "asked", "[]")
                for n in range(700)
            ]
        )
        turns = (await conversations.get("t", "c")).turns
        assert [turn.request_id for turn in turns] == [f"r{n}" for n in range(300, 700)]


def test_memory_is_of_finished_turns_before_the_request() -> None:
    def user(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    turns = [
        Turn("r1", user("1"), "one"),
        Turn("r2", user("2"), None),
        Turn("r3", user("3"), ""),
        Turn("r4", user("4"), None),
        Turn("r5", user("5"), "five"),
    ]
    assert memory(turns, "r4") == [
        *user("1"),
        {"role": "assistant", "content": "one"},
        *user("3"),
        {"role": "assistant", "content": ""},
    ]
    assert memory(turns, "r1") == []
    assert len(memory(turns, "not remembered")) == 6
