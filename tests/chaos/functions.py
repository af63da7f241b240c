"""The functions of a run: agents that pay after every few words, and note in a ledger what they do.

Each gets its words from the upstream of the run, so the upstream's journal numbers its attempts. A
function that another worker resumes asks for the words after those of its last checkpoint.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

import tickertape
from tests.chaos.history import FunctionStep, StepEvent

MODULE = __name__
# Resumes from its checkpoints, and its tool never runs twice.
PAYER = "payer"
# Never begins twice.
ONCE = "once"
NAMES = (PAYER, ONCE)
# The tool runs after so many words.
WORDS_OF_STEP = 6
# So long that some workers die meanwhile.
_PAYS_FOR_S = 0.03
_LEDGER = "ledger.jsonl"
# Made before any worker is forked, because that takes a second of CPU.
_CLIENT = AsyncOpenAI(api_key="key", base_url="http://127.0.0.1:9/v1", max_retries=0)
_CLIENT.chat.completions.create  # noqa: B018  # imports what it needs


@tickertape.function(PAYER)
async def payer(
    request: tickertape.Request, context: tickertape.Context
) -> AsyncIterator[tickertape.Value]:
    """Speaks the plan of the prompt, and pays after every step."""
    async for value in _spoken(request, context):
        yield value


@tickertape.function(ONCE, on_interruption="fail")
async def once(
    request: tickertape.Request, context: tickertape.Context
) -> AsyncIterator[tickertape.Value]:
    """The same, for what may not even begin twice."""
    async for value in _spoken(request, context):
        yield value


async def _spoken(
    request: tickertape.Request, context: tickertape.Context
) -> AsyncIterator[tickertape.Value]:
    words = context.state or 0
    _note(request.id, words, "begun")
    async with await _ask([*request.messages, *_begun(context.text)]) as chunks:
        async for value in tickertape.from_openai(chunks):
            yield value
            if not isinstance(value, tickertape.Text):
                continue
            words += 1
            if words % WORDS_OF_STEP == 0:
                _note(request.id, words, "asked")
                yield tickertape.ToolCall("pay", {"words": words})
                yield tickertape.ToolResult(await _pay(request.id, words))
                await context.checkpoint(words)
                _note(request.id, words, "kept")


async def _pay(request_id: str, words: int) -> str:
    _note(request_id, words, "paid")
    await asyncio.sleep(_PAYS_FOR_S)
    return "paid"


def _begun(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}] if text else []


async def _ask(messages: list[dict[str, Any]]) -> AsyncStream[ChatCompletionChunk]:
    client = _CLIENT.with_options(base_url=os.environ["OPENAI_BASE_URL"])
    given: Any = messages
    return await client.chat.completions.create(model="any", messages=given, stream=True)


def _note(request_id: str, words: int, event: StepEvent) -> None:
    """Add a line to the ledger in one write, so that a kill leaves no half of a line."""
    line = json.dumps([request_id, words, event, time.monotonic()]) + "\n"
    ledger = os.open(_LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)


def read_ledger(directory: Path) -> Iterator[FunctionStep]:
    """What all functions of a run have noted, in the order of their notes."""
    ledger = directory / _LEDGER
    for line in ledger.read_text("utf-8").splitlines() if ledger.exists() else ():
        yield FunctionStep(*msgspec.json.decode(line))
