"""The prompts of a page that sends only new messages, while the server remembers the rest."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.rig import working
from tests.support.running_api import RunningApi
from tests.support.script import Cut, Finish, Role, Script, Text, ToolCall, answer
from tests.support.upstream import ScriptedUpstream
from tests.wires.pages import chunks
from tickertape.runtime.settings import Settings

Message = dict[str, Any]


class Page:
    """Calls as `prepareSendMessagesRequest` of the SDK's documentation makes them."""

    def __init__(self, api: RunningApi, upstream: ScriptedUpstream) -> None:
        self._api = api
        self._upstream = upstream

    async def post(self, **fields: Any) -> str:
        """Post a message; returns the id of the answer's message."""
        answer = await self._api.client.post("/api/chat", json={"id": "c", **fields})
        return str(chunks_of(answer)[0]["messageId"])

    async def ask(self, number: int, text: str, **fields: Any) -> str:
        fields = {"trigger": "submit-message", **fields}
        return await self.post(message=question(number, text), **fields)

    @property
    def prompt(self) -> list[str]:
        """The contents of the messages in the upstream's last call."""
        return [message["content"] for message in self.messages]

    @property
    def messages(self) -> list[Message]:
        return list(self._upstream.calls[-1].body["messages"])

    async def turns(self) -> list[tuple[str, str | None]]:
        """The last message of each turn's input, and the turn's answer."""
        kept = (await self._api.client.get("/conversations/c")).json()["turns"]
        return [(turn["asked"][-1]["content"], turn["answered"]) for turn in kept]


def chunks_of(response: Any) -> list[Message]:
    return chunks(response)


def question(number: int, text: str) -> Message:
    return {"id": f"u-{number}", "role": "user", "parts": [{"type": "text", "text": text}]}


@pytest.fixture
async def page(api: RunningApi, redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Page]:
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    async with working(redis_url, settings):
        yield Page(api, upstream)


async def conversation(page: Page, upstream: ScriptedUpstream) -> list[str]:
    """Two messages and their answers; returns the ids of the answers."""
    upstream.enqueue(answer("eins"), answer("zwei"))
    return [await page.ask(1, "one"), await page.ask(2, "two")]


async def test_a_model_gets_each_message_with_the_turns_before_it(
    page: Page, upstream: ScriptedUpstream
) -> None:
    await conversation(page, upstream)
    await page.ask(3, "three")
    assert page.prompt == ["one", "eins", "two", "zwei", "three"]


@pytest.mark.parametrize("named", [{}, {"messageId": None}, {"messageId": "the answer's"}])
@pytest.mark.parametrize("sent", ["nothing", "the question"])
async def test_a_regenerated_answer_replaces_the_earlier_one(
    page: Page, upstream: ScriptedUpstream, named: Message, sent: str
) -> None:
    # n8n#26430: the message was in the memory, and was sent a second time.
    _, second = await conversation(page, upstream)
    if named.get("messageId"):
        named = {"messageId": second}
    message = {"message": question(2, "two")} if sent == "the question" else {}
    upstream.enqueue(answer("deux"))
    again = await page.post(trigger="regenerate-message", **named, **message)
    assert again != second
    assert page.prompt == ["one", "eins", "two"]
    await page.ask(3, "three")
    assert page.prompt == ["one", "eins", "two", "deux", "three"]
    assert (await page.turns())[:2] == [("one", "eins"), ("two", "deux")]


@pytest.mark.parametrize("of", ["answer", "question"])
async def test_regenerating_an_earlier_answer_drops_all_later_turns(
    page: Page, upstream: ScriptedUpstream, of: str
) -> None:
    first, _ = await conversation(page, upstream)
    upstream.enqueue(answer("un"))
    named = first if of == "answer" else "u-1"
    await page.post(trigger="regenerate-message", messageId=named)
    assert page.prompt == ["one"]
    assert await page.turns() == [("one", "un")]


async def test_an_edited_message_replaces_the_earlier_one(
    page: Page, upstream: ScriptedUpstream
) -> None:
    await conversation(page, upstream)
    await page.ask(3, "three")
    upstream.enqueue(answer("deux"))
    await page.ask(2, "deux?", messageId="u-2")
    assert page.prompt == ["one", "eins", "deux?"]
    await page.ask(4, "four")
    assert page.prompt == ["one", "eins", "deux?", "deux", "four"]
    # The edited message can be edited again, by the same id.
    await page.ask(2, "two, again", messageId="u-2")
    assert page.prompt == ["one", "eins", "two, again"]


async def test_a_message_that_is_sent_again_without_a_trigger_is_remembered_once(
    page: Page, upstream: ScriptedUpstream
) -> None:
    await conversation(page, upstream)
    await page.post(message=question(2, "two"))
    assert page.prompt == ["one", "eins", "two"]
    # Messages with equal ids are all kept.
    await page.post(message=question(2, "three"))
    assert page.prompt == ["one", "eins", "two", "Hello, world.", "three"]


async def test_a_failed_answer_that_is_regenerated_is_left_out_of_later_prompts(
    page: Page, upstream: ScriptedUpstream
) -> None:
    await conversation(page, upstream)
    upstream.enqueue([Role(), Text("half"), Cut()])
    await page.ask(3, "three")
    await page.post(trigger="regenerate-message")
    assert page.prompt == ["one", "eins", "two", "zwei", "three"]
    await page.ask(4, "four")
    assert page.prompt == ["one", "eins", "two", "zwei", "three", "Hello, world.", "four"]


async def test_a_running_answer_that_is_regenerated_is_stopped_and_left_out_of_later_prompts(
    api: RunningApi, page: Page, upstream: ScriptedUpstream
) -> None:
    await conversation(page, upstream)
    await api.submit("elsewhere", conversation_id="c")
    await page.post(trigger="regenerate-message")
    assert page.prompt == ["one", "eins", "two", "zwei", "elsewhere"]
    assert len(await page.turns()) == 3


def calls(call_id: str) -> Script:
    return [
        Role(),
        Text("Let me look."),
        ToolCall("{}", name="look", call_id=call_id),
        Finish("tool_calls"),
    ]


def step(call_id: str) -> list[Message]:
    """The parts of an answer with a tool call and its outcome."""
    return [
        {"type": "step-start"},
        {"type": "text", "text": "Let me look.", "state": "done"},
        {
            "type": "tool-look",
            "toolCallId": call_id,
            "state": "output-available",
            "input": {},
            "output": "seen",
        },
    ]


def step_messages(call_id: str) -> list[Message]:
    function = {"name": "look", "arguments": "{}"}
    call = {"id": call_id, "type": "function", "function": function}
    return [
        {"role": "assistant", "content": "Let me look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "seen"},
    ]


async def test_tool_calls_and_their_outcomes_are_remembered_completely(
    page: Page, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue(calls("a"), calls("b"), answer("Rain."))
    said = await page.ask(1, "one")
    parts: list[Message] = []
    for call_id in ("a", "b"):
        parts += step(call_id)
        message = {"id": said, "role": "assistant", "parts": parts}
        same = await page.post(trigger="submit-message", messageId=said, message=message)
        assert same == said
    message = {"role": "user", "content": "one"}
    assert page.messages == [message, *step_messages("a"), *step_messages("b")]
    await page.ask(2, "two")
    whole = [
        message,
        *step_messages("a"),
        *step_messages("b"),
        {"role": "assistant", "content": "Rain."},
        {"role": "user", "content": "two"},
    ]
    assert page.messages == whole
    # The page regenerates the whole answer, with all its steps, by its id.
    await page.post(trigger="regenerate-message", messageId=said)
    assert page.messages == [message]


async def test_a_page_that_sends_its_history_has_no_message_remembered_twice(
    api: RunningApi, page: Page, upstream: ScriptedUpstream
) -> None:
    _, second = await conversation(page, upstream)
    history = [question(1, "one"), question(2, "two")]
    await page.post(trigger="regenerate-message", messageId=second, messages=history)
    assert await page.turns() == [("one", "eins"), ("two", "Hello, world.")]
    edited = [question(1, "uno")]
    await page.post(trigger="submit-message", messageId="u-1", messages=edited)
    assert await page.turns() == [("uno", "Hello, world.")]


async def test_turns_without_message_ids_are_found_by_their_text(
    api: RunningApi, page: Page, upstream: ScriptedUpstream
) -> None:
    await page.post(message={**question(1, "one"), "id": None})
    await page.post(trigger="regenerate-message", message=question(1, "one"))
    assert page.prompt == ["one"]
    assert len(await page.turns()) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"trigger": "regenerate-message"}, "messages: there is no message to answer"),
        (
            {"trigger": "regenerate-message", "messageId": "other"},
            "messageId: there is no message to answer",
        ),
        ({"trigger": "submit-message"}, "messages: give messages"),
    ],
)
async def test_a_call_without_a_message_needs_one_in_memory_to_answer(
    api: RunningApi, fields: Message, said: str
) -> None:
    refused = await api.client.post("/api/chat", json={"id": "c", **fields})
    assert (refused.status_code, refused.text.strip()) == (400, said)


async def test_a_message_with_an_unknown_id_is_a_new_message(
    page: Page, upstream: ScriptedUpstream
) -> None:
    await conversation(page, upstream)
    await page.ask(3, "three", messageId="u-9")
    assert page.prompt == ["one", "eins", "two", "zwei", "three"]
