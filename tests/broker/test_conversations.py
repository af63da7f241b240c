"""What a conversation remembers, and for whom."""

import json

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig, open_rig
from tests.support.whole_turns import whole_conversation, whole_turns
from tickertape.broker.codec import encode_data, encode_text
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import RequestMissing
from tickertape.broker.leases import Lease
from tickertape.broker.turns import Links, Turn, remember
from tickertape.runtime.settings import Settings

ASKED = [{"role": "user", "content": "hé?"}]


async def answer(broker: Rig, lease: Lease, text: str) -> None:
    done = [encode_data("completed", {})]
    await broker.queue.finish(lease, "completed", 1, done, answered=text)


async def test_turns_are_remembered_in_the_order_they_were_asked(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        first = await broker.submit(conversation_id="c", question=ASKED)
        second = await broker.submit(conversation_id="c", question=ASKED)
        await answer(broker, await broker.claim_lease(), "é!")
        conversation = await whole_conversation(conversations, TENANT, "c")
        assert conversation.turns == [
            Turn(first, ASKED, "é!", "completed"),
            Turn(second, ASKED),
        ]
        assert conversation.active_request_id == second
        await answer(broker, await broker.claim_lease(), "")
        conversation = await whole_conversation(conversations, TENANT, "c")
        assert conversation.active_request_id is None
        assert [turn.answered for turn in conversation.turns] == ["é!", ""]


async def test_the_active_request_is_known_without_reading_the_turns(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        assert await conversations.active(TENANT, "c") is None
        lease = await broker.leased(conversation_id="c")
        assert await conversations.active(TENANT, "c") == lease.request_id
        assert await conversations.active("another", "c") is None
        await answer(broker, lease, "yes")
        assert await conversations.active(TENANT, "c") is None


async def test_a_worker_finds_the_turns_with_the_fields_of_its_lease(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        first = await broker.leased(conversation_id="c", question=ASKED)
        await answer(broker, first, "yes")
        lease = await broker.leased(conversation_id="c", question=ASKED)
        turns = await whole_turns(conversations, 0, lease.conversation)
        assert remember(turns, lease.request_id) == [
            [*ASKED, {"role": "assistant", "content": "yes"}]
        ]


async def test_a_conversation_is_known_to_its_tenant_only(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        await broker.submit(TENANT, conversation_id="c")
        for call in (conversations.outline, conversations.forget):
            with pytest.raises(RequestMissing, match="conversation"):
                await call("u", "c")
        await broker.submit("u", conversation_id="c")
        assert await conversations.forget("u", "c") == 1
        assert len((await whole_conversation(conversations, TENANT, "c")).turns) == 1


async def test_a_forgotten_conversation_starts_over(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        await answer(broker, await broker.leased(conversation_id="c", question=ASKED), "yes")
        waiting = await broker.submit(conversation_id="c", question=ASKED)
        assert await conversations.forget(TENANT, "c") == 2
        with pytest.raises(RequestMissing):
            await whole_conversation(conversations, TENANT, "c")
        with pytest.raises(RequestMissing):
            await broker.requests.get(waiting, TENANT)
        await broker.submit(conversation_id="c", question=ASKED)
        [turn] = (await whole_conversation(conversations, TENANT, "c")).turns
        assert turn.answered is None


@pytest.mark.slow
async def test_of_420_finished_turns_the_last_400_are_remembered(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        ids = []
        for _ in range(420):
            lease = await broker.leased(conversation_id="c", question=ASKED)
            await answer(broker, lease, "yes")
            ids.append(lease.request_id)
        turns = (await whole_conversation(conversations, TENANT, "c")).turns
        assert [turn.request_id for turn in turns] == ids[-400:]
        assert all(turn.answered == "yes" for turn in turns)
        stored = await broker.connections.ask(
            "XLEN", KEYS.turns(*await conversations.place(TENANT, "c"))
        )
        # Redis trims whole nodes of a stream.
        assert 800 <= stored < 1000


async def test_a_setting_says_how_many_turns_a_conversation_keeps(redis_url: str) -> None:
    async with open_rig(redis_url, GivenSettings(conversation_turns=3)) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        for text in "abcdef":
            await answer(broker, await broker.leased(conversation_id="c", question=ASKED), text)
        turns = (await whole_conversation(conversations, TENANT, "c")).turns
        assert [turn.answered for turn in turns] == ["d", "e", "f"]


async def test_a_stopped_answer_is_remembered_when_its_log_has_expired(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        stopped = await broker.leased(conversation_id="c", question=ASKED)
        await broker.append(encode_text("reasoning", "Hm."), encode_text("delta", "hé "))
        await broker.append(encode_text("delta", "\n/", {"logprobs": {}}))
        await broker.requests.cancel(stopped.request_id, TENANT)
        await broker.connections.ask("DEL", KEYS.log(stopped.request_id))
        [turn] = (await whole_conversation(conversations, TENANT, "c")).turns
        assert turn == Turn(stopped.request_id, ASKED, "hé \n/", "cancelled")


async def test_the_conversation_does_not_contain_questions_that_an_edit_replaced(
    redis_url: str,
) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        for text in "abc":
            await answer(broker, await broker.leased(conversation_id="c", question=ASKED), text)
        _, second, _ = (await whole_conversation(conversations, TENANT, "c")).turns
        links = Links(message_id="m", replaces=second.row)
        lease = await broker.leased(conversation_id="c", question=ASKED, links=links)
        # What was replaced can be erased, and does not bring back what was asked after it.
        await broker.requests.erase(second.request_id, TENANT)
        await answer(broker, lease, "d")
        turns = (await whole_conversation(conversations, TENANT, "c")).turns
        assert [turn.answered for turn in turns] == ["a", "d"]
        assert turns[1].links == links
        assert await conversations.forget(TENANT, "c") == 3


async def test_turns_that_version_0_1_stored_are_read(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        partition, key = await conversations.place(TENANT, "c")
        rows = KEYS.turns(partition, key)
        asked = '[{"role":"user","content":"why?"}]'
        await broker.connections.ask_all(
            [
                ("XADD", rows, "*", "id", "a", "asked", asked),
                ("XADD", rows, "*", "id", "b", "asked", asked),
                ("XADD", rows, "*", "id", "a", "answered", '"so"'),
                ("XADD", rows, "*", "id", "b", "answered", '""'),
                ("XADD", rows, "*", "id", "c", "asked", asked),
            ]
        )
        turns = await whole_turns(conversations, partition, key)
        assert [(turn.answered, turn.status) for turn in turns] == [
            ("so", "completed"),
            ("", "completed"),
            (None, None),
        ]
        question = {"role": "user", "content": "why?"}
        assert remember(turns, "c") == [[question, {"role": "assistant", "content": "so"}]]


async def test_version_0_1_reads_every_turn_of_today(redis_url: str) -> None:
    def as_0_1_reads(rows: list[tuple[bytes, dict[bytes, bytes]]]) -> dict[str, object]:
        # broker/conversations.py of version 0.1, which knew two kinds of rows.
        found: dict[str, object] = {}
        for _, fields in rows:
            if b"asked" not in fields:
                found[fields[b"id"].decode()] = json.loads(fields[b"answered"])
        return found

    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        half = await broker.leased(conversation_id="c", links=Links(message_id="m"))
        await broker.append(encode_text("delta", "half"))
        await broker.requests.cancel(half.request_id, TENANT)
        silent = await broker.leased(conversation_id="c")
        await broker.requests.cancel(silent.request_id, TENANT)
        done = await broker.leased(conversation_id="c")
        call = {"index": 0, "id": "k", "name": "look", "arguments": "{}"}
        end = [encode_data("completed", {})]
        await broker.queue.finish(done, "completed", 1, end, answered="", called={"calls": [call]})
        rows = KEYS.turns(*await conversations.place(TENANT, "c"))
        assert as_0_1_reads(await broker.connections.ask("XRANGE", rows, "-", "+")) == {
            half.request_id: "half",
            silent.request_id: "[stopped]",
            done.request_id: "",
        }
        turns = (await whole_conversation(conversations, TENANT, "c")).turns
        assert [(turn.answered, turn.status) for turn in turns] == [
            ("half", "cancelled"),
            ("", "cancelled"),
            ("", "completed"),
        ]
        assert turns[2].calls == [call]


async def test_of_an_endless_answer_that_was_stopped_the_end_is_remembered(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        conversations = Conversations(broker.connections, broker.settings)
        lease = await broker.leased(conversation_id="c")
        words = [f"{number} " for number in range(17_000)]
        for at in range(0, len(words), 1000):
            values = [encode_text("delta", word) for word in words[at : at + 1000]]
            await broker.append(*values)
        await broker.requests.cancel(lease.request_id, TENANT)
        [turn] = (await whole_conversation(conversations, TENANT, "c")).turns
        assert turn.answered == "".join(words[-16_384:])


async def talk(broker: Rig, sizes: list[int], links: dict[int, int]) -> list[str]:
    """Turns with questions of these sizes; `links` says which turn takes the place of which."""
    conversations = Conversations(broker.connections, broker.settings)
    ids: list[str] = []
    for number, size in enumerate(sizes):
        asked = [{"role": "user", "content": f"{number} " + "x" * size}]
        row = None
        if number in links:
            turns = await whole_turns(conversations, *await conversations.place(TENANT, "c"))
            row = turns[links[number]].row
        lease = await broker.leased(conversation_id="c", question=asked, links=Links(replaces=row))
        ids.append(lease.request_id)
        if number < len(sizes) - 1:
            await answer(broker, lease, "yes")
    return ids


@pytest.mark.parametrize(
    ("sizes", "links", "read"),
    [
        ([10] * 60, {}, 60),
        ([100_000] * 30, {}, 4),
        ([10] * 20 + [100_000] * 2, {}, 22),
        # Its own question is given anyway, and those that others replaced are not.
        ([10] * 20 + [900_000], {}, 21),
        ([10] * 20 + [900_000] * 4 + [10], {21: 20, 22: 20, 23: 20, 24: 20}, 25),
    ],
)
async def test_of_a_long_conversation_what_a_request_is_given_is_read(
    redis_url: str, sizes: list[int], links: dict[int, int], read: int
) -> None:
    settings = Settings(memory_bytes=150_000)
    async with open_rig(redis_url, settings) as broker:
        ids = await talk(broker, sizes, links)
        await broker.submit(conversation_id="c", question=[{"content": "x" * 900_000}])
        conversations = Conversations(broker.connections, settings)
        place = await conversations.place(TENANT, "c")
        turns = await conversations.newest_turns(*place, ids[-1])
        known = [turn.request_id for turn in turns if turn.request_id in ids]
        assert known == ids[-read:]
        given = remember(await whole_turns(conversations, *place), ids[-1])
        assert remember(turns, ids[-1]) == given[-len(known) + 1 :]
