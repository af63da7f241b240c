"""The messages that the items of Responses become for a Chat Completions upstream."""

from typing import Any

import pytest

from tests.support.rig import open_rig, working
from tests.support.script import Done, Finish, Script, Text, ToolCall
from tests.wires.relaying import HI, IMAGE, TOOL, TWO_CALLS, Relay

ASKED = "Where are we?"


def called(call_id: str, arguments: str = '{"at":1}') -> dict[str, Any]:
    function = {"name": "look", "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def call_item(call_id: str, arguments: str = '{"at":1}') -> dict[str, Any]:
    about = {"type": "function_call", "call_id": call_id}
    return about | {"name": "look", "arguments": arguments}


def output_item(call_id: str, output: Any = "here") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def thought(text: str, kind: str = "reasoning_text") -> dict[str, Any]:
    holder = "content" if kind == "reasoning_text" else "summary"
    return {"type": "reasoning", "summary": [], holder: [{"type": kind, "text": text}]}


def assistant_message(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def tool(call_id: str, content: str = "here") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def calling(content: str | None, *call_ids: str, **fields: Any) -> dict[str, Any]:
    calls = [called(call_id) for call_id in call_ids]
    return {"role": "assistant", "content": content, **fields, "tool_calls": calls}


@pytest.mark.parametrize("by", ["previous_response_id", "input += output"])
async def test_text_after_a_tool_call_does_not_separate_the_calls_from_their_outcomes(
    relay: Relay, by: str
) -> None:
    relay.upstream.enqueue(TWO_CALLS)
    async with working(relay.redis_url, relay.settings):
        first = await relay.sdk.responses.create(model="m", input=ASKED, tools=[TOOL])
        # The items have the order of the outcomes, not of the calls.
        items: Any = [output_item("c2", "there"), output_item("c1")]
        if by == "previous_response_id":
            again: dict[str, Any] = {"previous_response_id": first.id, "input": items}
        else:
            again = {"input": [{"role": "user", "content": ASKED}, *first.output, *items]}
        second = await relay.sdk.responses.create(model="m", tools=[TOOL], **again)
        third = await relay.sdk.responses.create(
            model="m", previous_response_id=second.id, input="And now?"
        )
    assert third.output_text == "Hello, world."
    asked = {"role": "user", "content": ASKED}
    answered = calling("Let me look.", "c1", "c2", reasoning_content="Hm. Two.")
    loop = [asked, answered, tool("c2", "there"), tool("c1")]
    _, body, last = (call.body for call in relay.upstream.calls)
    assert body == {
        "model": "m",
        "messages": loop,
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "parameters": {"type": "object"}},
            }
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    now = {"role": "user", "content": "And now?"}
    assert last["messages"] == [*loop, assistant_message("Hello, world."), now]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        pytest.param(
            [HI, call_item("a"), HI, output_item("a")],
            [HI, calling(None, "a"), tool("a"), HI],
            id="a question between a call and its outcome",
        ),
        pytest.param(
            [
                HI,
                call_item("a"),
                call_item("b"),
                output_item("a"),
                assistant_message("Hm."),
                output_item("b"),
            ],
            [HI, calling(None, "a", "b"), tool("a"), tool("b"), assistant_message("Hm.")],
            id="words between two outcomes",
        ),
        pytest.param(
            [HI, call_item("a"), output_item("a"), call_item("b"), output_item("b")],
            [HI, calling(None, "a"), tool("a"), calling(None, "b"), tool("b")],
            id="one call after the other",
        ),
        pytest.param(
            [HI, call_item("a", ""), output_item("a")],
            [HI, calling(None) | {"tool_calls": [called("a", "{}")]}, tool("a")],
            id="a call without arguments",
        ),
        *(
            pytest.param(
                [HI, call_item("a", wrong), output_item("a")],
                [HI, calling(None) | {"tool_calls": [called("a", wrapped)]}, tool("a")],
                id=f"a call with {wrong[:8]} for arguments",
            )
            for wrong, wrapped in (
                ('{"at":', '{"input":"{\\"at\\":"}'),
                ("[1]", '{"input":"[1]"}'),
                ("null", '{"input":"null"}'),
            )
        ),
        pytest.param(
            [HI, thought("Hm."), assistant_message("Hello."), HI],
            [HI, assistant_message("Hello."), HI],
            id="a thought that led to no call",
        ),
        pytest.param(
            [HI, thought("Hm.", "summary_text"), call_item("a"), output_item("a")],
            [HI, calling(None, "a", reasoning_content="Hm."), tool("a")],
            id="a thought of which only the summary is there",
        ),
        pytest.param(
            [
                HI,
                thought("1"),
                call_item("a"),
                output_item("a"),
                thought("2"),
                assistant_message("b"),
                HI,
            ],
            [
                HI,
                calling(None, "a", reasoning_content="1"),
                tool("a"),
                assistant_message("b") | {"reasoning_content": "2"},
                HI,
            ],
            id="a thought after the calls of the same turn",
        ),
        pytest.param(
            [assistant_message("One."), assistant_message("Two."), HI],
            [assistant_message("One."), assistant_message("Two."), HI],
            id="texts",
        ),
        pytest.param(
            [{"role": "developer", "content": "Be brief."}, HI],
            [{"role": "system", "content": "Be brief."}, HI],
            id="the role developer",
        ),
        pytest.param(
            [{"type": "reasoning", "summary": 3, "content": ["?", {"text": 1}]}, call_item("a")],
            [calling(None, "a")],
            id="a thought of an odd shape",
        ),
    ],
)
async def test_items_become_messages_in_the_order_that_chat_upstreams_accept(
    relay: Relay, items: Any, expected: list[dict[str, Any]]
) -> None:
    assert await relay.messages(items) == expected


async def test_images_of_tools_go_in_a_user_message_behind_the_outcomes(relay: Relay) -> None:
    seen = [{"type": "input_text", "text": "A cat."}, {"type": "input_image", "image_url": IMAGE}]
    bare = [{"type": "input_image", "image_url": IMAGE, "detail": "original"}]
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    items: Any = [
        HI,
        call_item("a"),
        call_item("b"),
        call_item("c"),
        output_item("a", seen),
        output_item("b", bare),
        output_item("c"),
    ]
    assert await relay.messages(items) == [
        HI,
        calling(None, "a", "b", "c"),
        tool("a", "A cat."),
        tool("b", "The output is in the user message behind the tool messages."),
        tool("c"),
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Output of the call a:"},
                image,
                {"type": "text", "text": "Output of the call b:"},
                image,
            ],
        },
    ]


async def test_an_image_for_a_call_of_the_previous_response_goes_behind_its_outcome(
    relay: Relay,
) -> None:
    relay.upstream.enqueue(TWO_CALLS)
    async with working(relay.redis_url, relay.settings):
        first = await relay.sdk.responses.create(model="m", input="hi", tools=[TOOL])
        items: Any = [
            output_item("c1", [{"type": "input_image", "image_url": IMAGE}]),
            output_item("c2"),
        ]
        await relay.sdk.responses.create(model="m", previous_response_id=first.id, input=items)
    roles = [message["role"] for message in relay.upstream.calls[-1].body["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user"]


@pytest.mark.parametrize("by", ["previous_response_id", "input += output"])
async def test_a_tool_call_that_was_cut_off_is_left_out_of_later_prompts(
    relay: Relay, by: str
) -> None:
    cut: Script = [
        Text("So."),
        ToolCall('{"at":', name="look", call_id="c1"),
        Finish("length"),
        Done(),
    ]
    relay.upstream.enqueue(cut)
    on = {"role": "user", "content": "go on"}
    async with working(relay.redis_url, relay.settings):
        first = await relay.sdk.responses.create(model="m", input="hi", tools=[TOOL])
        if by == "previous_response_id":
            again: dict[str, Any] = {"previous_response_id": first.id, "input": [on]}
        else:
            again = {"input": [HI, *first.output, on]}
        await relay.sdk.responses.create(model="m", **again)
    assert relay.upstream.calls[-1].body["messages"] == [HI, assistant_message("So."), on]


async def test_a_response_that_an_earlier_version_kept_can_be_followed(relay: Relay) -> None:
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    # That version stored text after the calls, and images in the outcomes.
    kept = [
        HI,
        calling(None, "a"),
        assistant_message("So."),
        tool("a") | {"content": [image]},
        assistant_message("Seen."),
    ]
    echo = {"response": {}, "input": [{"type": "message", **HI}], "context": kept}
    async with (
        working(relay.redis_url, relay.settings),
        open_rig(relay.redis_url, relay.settings) as rig,
    ):
        request_id = await rig.ask("hi", head={"wire": "responses"}, echo=echo)
        await rig.ended(request_id)
        await relay.sdk.responses.create(
            model="m", previous_response_id=f"resp_{request_id}", input="hi"
        )
    outcome = tool("a", "The output is in the user message behind the tool messages.")
    head = {"type": "text", "text": "Output of the call a:"}
    shown = {"role": "user", "content": [head, image]}
    assert relay.upstream.calls[-1].body["messages"] == [
        HI,
        calling("So.", "a"),
        outcome,
        shown,
        assistant_message("Seen."),
        HI,
        assistant_message("Hello, world."),
        HI,
    ]
