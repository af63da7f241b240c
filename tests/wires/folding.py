"""A client's result from the bytes of each wire, by the rules of its protocol.

Each reading raises AssertionError where a client would stumble.
"""

import json
from dataclasses import dataclass
from typing import Any

from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


@dataclass
class Heard:
    """The text of an answer, whether the answer has ended, and whether it ended with an error."""

    text: str = ""
    is_over: bool = False
    is_error: bool = False


def events(data: bytes) -> list[bytes]:
    """The data of each event; every line must be one that an SDK understands."""
    found = []
    for frame in data.split(b"\n\n"):
        for line in frame.split(b"\n"):
            if line.startswith(b"data: "):
                found.append(line.removeprefix(b"data: "))
            else:
                assert line == b"" or line.startswith((b"event: ", b"id: ")), line
    assert data == b"" or data.endswith(b"\n\n")
    return found


def _in_openai_s_words(event: dict[str, Any]) -> dict[str, Any]:
    """An event whose reason for an incomplete response is one of OpenAI's two.

    Clients accept the upstream's own reason, too, because the SDK does not validate responses.
    """
    response = event.get("response") or {}
    if not response.get("incomplete_details"):
        return event
    assert response["status"] == "incomplete"
    details = {"reason": "content_filter"}
    return {**event, "response": {**response, "incomplete_details": details}}


def native(data: bytes) -> Heard:
    heard = Heard()
    for frame in data.split(b"\n\n")[:-1]:
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n"))
        match fields[b"event"].decode():
            case "delta":
                heard.text += json.loads(fields[b"data"])["text"]
            case "started" | "reset":
                heard.text = ""
            case "completed":
                heard.is_over = True
            case "failed" | "cancelled":
                heard.is_over = heard.is_error = True
    return heard


def chat_completions(data: bytes) -> Heard:
    heard = Heard()
    constants = set()
    for event in events(data):
        assert not heard.is_over, "something after the end"
        if event == b"[DONE]":
            heard.is_over = True
            continue
        chunk = json.loads(event)
        if "error" in chunk:
            heard.is_over = heard.is_error = True
            continue
        constants.add((chunk["id"], chunk["created"], chunk["model"]))
        for choice in chunk["choices"]:
            heard.text += choice["delta"].get("content") or ""
    assert len(constants) <= 1
    return heard


def responses(data: bytes) -> Heard:
    """Read with the SDK's own types and accumulation."""
    heard = Heard()
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for number, data_of_event in enumerate(events(data)):
        assert not heard.is_over, "something after the end"
        event = json.loads(data_of_event)
        assert event["sequence_number"] == number
        kind = event["type"]
        if kind == "error":
            heard.is_over = heard.is_error = True
        elif kind == "response.cancelled":
            heard.is_over = heard.is_error = True
            assert text_of(event["response"]) == heard.text
        else:
            for _ in state.handle_event(_EVENT.validate_python(_in_openai_s_words(event))):
                pass
            heard.text += event["delta"] if kind == "response.output_text.delta" else ""
            heard.is_error = kind == "response.failed"
            heard.is_over = kind in {f"response.{end}" for end in _ENDS}
            if heard.is_over:
                assert text_of(event["response"]) == heard.text
    return heard


_ENDS = ("completed", "incomplete", "failed")


def text_of(response: dict[str, Any]) -> str:
    return "".join(
        part.get("text", "")
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    )


class _Message:
    """The message of an AI SDK client, with the checks of the SDK's reducer."""

    def __init__(self, *, resets: bool) -> None:
        self.heard = Heard()
        self._resets = resets
        self._open: set[str] = set()
        self._inputs: dict[str, str] = {}
        self._whole_inputs: set[str] = set()
        self._is_finished = False
        self._has_started = False

    def take(self, chunk: dict[str, Any]) -> None:
        assert not self.heard.is_error, "a chunk after an error"
        assert None not in chunk.values(), "null is not the same as nothing"
        assert self._has_started == (chunk["type"] != "start")
        self._has_started = True
        block, _, step = chunk["type"].rpartition("-")
        if block in {"text", "reasoning"}:
            self._take_block(step, chunk)
        elif block == "tool-input":
            self._take_input(step, chunk)
        elif block == "tool-output":
            assert chunk["toolCallId"] in self._whole_inputs
            assert chunk["providerExecuted"]
            assert ("output" in chunk, "errorText" in chunk) == (
                step == "available",
                step == "error",
            )
        elif chunk["type"].startswith("data-"):
            assert "data" in chunk
        elif chunk["type"] == "finish-step":
            assert not self._open
            assert self._whole_inputs == set(self._inputs)
        elif chunk["type"] == "reset-step" and self._resets:
            self.heard.text = ""
            self._open.clear()
            self._inputs.clear()
            self._whole_inputs.clear()
        elif step in {"finish", "abort", "error"}:
            self._is_finished = True
            self.heard.is_error = bool(chunk.get("errorText"))
            assert self.heard.is_error == (step == "error")
        else:
            known = {"start", "start-step", "file", "source-url"}
            assert chunk["type"] in known, f"unknown chunk {chunk['type']}"

    def _take_block(self, step: str, chunk: dict[str, Any]) -> None:
        match step:
            case "start":
                assert chunk["id"] not in self._open
                self._open.add(chunk["id"])
            case "delta":
                assert chunk["id"] in self._open
                self.heard.text += chunk["delta"] if chunk["id"].startswith("text-") else ""
            case _:
                assert step == "end"
                self._open.remove(chunk["id"])

    def _take_input(self, step: str, chunk: dict[str, Any]) -> None:
        call_id = chunk["toolCallId"]
        match step:
            case "start":
                assert call_id not in self._inputs
                assert isinstance(chunk["toolName"], str)
                self._inputs[call_id] = ""
            case "delta":
                self._inputs[call_id] += chunk["inputTextDelta"]
            case _:
                assert step in {"available", "error"}
                assert call_id in self._inputs
                assert call_id not in self._whole_inputs
                assert "input" in chunk
                self._whole_inputs.add(call_id)

    def end(self) -> None:
        assert self._is_finished, "a client takes this for a whole answer"
        self.heard.is_over = True


def ui_message(data: bytes, *, resets: bool = False) -> Heard:
    message = _Message(resets=resets)
    for event in events(data):
        assert not message.heard.is_over, "something after the end"
        if event == b"[DONE]":
            message.end()
        else:
            message.take(json.loads(event))
    return message.heard


class _Run:
    """A run as a client of AG-UI follows it, with the checks of the client's verifier."""

    def __init__(self) -> None:
        self.heard = Heard()
        self._texts: dict[str, str] = {}
        self._open: set[tuple[str, str]] = set()
        self._seen: set[str] = set()
        self._is_started = False

    def take(self, event: dict[str, Any]) -> None:
        assert not self.heard.is_over, "something after the end"
        assert self._is_started == (event["type"] != "RUN_STARTED")
        self._is_started = True
        match event["type"]:
            case "TEXT_MESSAGE_CONTENT" | "REASONING_MESSAGE_CONTENT":
                self._check_open(event)
                if event["messageId"].startswith("msg_"):
                    self._texts[event["messageId"]] += event["delta"]
            case "TOOL_CALL_ARGS":
                self._check_open(event)
            case "MESSAGES_SNAPSHOT":
                assert not self._open
                self._texts.clear()
                self._seen = {block for block in self._seen if "TOOL_CALL" not in block}
            case "TOOL_CALL_RESULT":
                assert "('TOOL_CALL', '" + event["toolCallId"] + "')" in self._seen
                assert ("TOOL_CALL", event["toolCallId"]) not in self._open
                assert isinstance(event["content"], str)
            case "CUSTOM" | "STATE_SNAPSHOT":
                assert "value" in event or "snapshot" in event
            case "RUN_FINISHED" | "RUN_ERROR" as kind:
                assert not self._open
                self.heard.is_over = True
                is_cancelled = event.get("outcome", {}).get("type") == "cancelled"
                self.heard.is_error = kind == "RUN_ERROR" or is_cancelled
            case kind if kind != "RUN_STARTED":
                self._take_block(kind, event)
        self.heard.text = "".join(self._texts.values())

    def _take_block(self, kind: str, event: dict[str, Any]) -> None:
        entity, _, step = kind.rpartition("_")
        block = (entity, self._id(event))
        if step == "START":
            assert block not in self._open
            assert f"{block}" not in self._seen, "clients would append to an earlier block"
            self._seen.add(f"{block}")
            self._open.add(block)
            if entity == "TEXT_MESSAGE":
                self._texts[event["messageId"]] = ""
        else:
            assert step == "END", kind
            self._open.remove(block)

    def _check_open(self, event: dict[str, Any]) -> None:
        entity = event["type"].rpartition("_")[0]
        assert (entity, self._id(event)) in self._open

    def _id(self, event: dict[str, Any]) -> str:
        found: str = event["toolCallId"] if "toolCallId" in event else event["messageId"]
        return found


def agui(data: bytes) -> Heard:
    run, ids = _Run(), []
    for frame in data.split(b"\n\n")[:-1]:
        *before, event = frame.split(b"\n")
        ids += [line.removeprefix(b"id: ") for line in before]
        run.take(json.loads(event.removeprefix(b"data: ")))
    assert len(set(ids)) == len(ids), "a client ignores an event whose id it knows"
    return run.heard


def text(data: bytes) -> Heard:
    return Heard(data.decode())
