"""Random streams of an upstream, and how a job that reads one must end."""

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import groupby, pairwise

from tests.support.script import (
    Chunk,
    Comment,
    Cut,
    Done,
    Error,
    Finish,
    Pause,
    Raw,
    Reasoning,
    Refusal,
    Role,
    Step,
    Text,
    ToolCall,
    Usage,
    bytes_of,
    is_output,
)


@dataclass(frozen=True)
class LastText:
    """Text and a finish_reason in one chunk."""

    text: str
    reason: str

    @property
    def chunk(self) -> Chunk:
        choice = {"index": 0, "delta": {"content": self.text}, "finish_reason": self.reason}
        return Chunk({"choices": [choice]})


@dataclass(frozen=True)
class Silence:
    """Nothing more, and no end."""


StreamStep = Step | LastText | Silence

_WORDS = ["a", "b ", "é", "🎉", '"\n', "data: [DONE]\n\n"]
_REASONS = ["stop", "length", "tool_calls", "end_turn", "MAX_TOKENS", "SAFETY", "strange"]
_FAILURES = ["error", "abort", "network_error", "insufficient_system_resource"]
_TRANSLATED = {"end_turn": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}
GARBAGE = b'data: {"choices":[{"index":0,"delta":{"content":"lo\n\n'
THOUGHT = Pause(6)


def random_stream(rng: random.Random) -> list[StreamStep]:
    """Up to nine steps in any order; then the body ends as HTTP has it."""
    return [_random_step(rng) for _ in range(rng.randrange(10))]


def _random_step(rng: random.Random) -> StreamStep:
    word = rng.choice(_WORDS)
    common: list[StreamStep] = [
        Text(word), Text(word), Reasoning(word), Refusal(word), ToolCall(word, "f", "c1"),
        Finish(rng.choice(_REASONS)), Finish("stop"), LastText(word, rng.choice(_REASONS)),
        Role(), Chunk({"choices": []}), Usage(1, 2), Comment(), THOUGHT, Done(),
    ]  # fmt: skip
    rare: list[StreamStep] = [
        Cut(), Silence(), Error(), Error("slow down", "rate_limit_exceeded"), Raw(GARBAGE),
        Finish(rng.choice(_FAILURES)),
    ]  # fmt: skip
    return rng.choice(rare if rng.random() < 0.12 else common)


class RandomBody:
    """The bytes of a stream, in segments of any size."""

    def __init__(self, stream: list[StreamStep], rng: random.Random) -> None:
        self._stream = stream
        self._rng = rng

    async def aiter_bytes(self) -> AsyncGenerator[bytes, None]:
        for acts, steps in groupby(self._stream, _is_act):
            if acts:
                for step in steps:
                    await _act(step)
            else:
                data = b"".join(_bytes(step) for step in steps)
                cuts = sorted(self._rng.randrange(len(data) + 1) for _ in range(4))
                for begin, end in pairwise([0, *cuts, len(data)]):
                    yield data[begin:end]

    async def aclose(self) -> None:
        """Nothing to close."""


def _is_act(step: StreamStep) -> bool:
    return isinstance(step, Cut | Silence | Pause)


async def _act(step: StreamStep) -> None:
    match step:
        case Pause(pause_s):
            await asyncio.sleep(pause_s)
        case Cut():
            raise ConnectionError
        case Silence():
            await asyncio.Event().wait()


def _bytes(step: StreamStep) -> bytes:
    if isinstance(step, LastText):
        return bytes_of(step.chunk)
    assert not isinstance(step, Silence)
    return bytes_of(step)


@dataclass(frozen=True)
class Expected:
    """The texts before the end, and the finish_reason or the code of the failure."""

    texts: list[str]
    finish_reason: str | None
    code: str | None


def expected(stream: list[StreamStep]) -> Expected:
    """The end of a stream by the rule: its end was declared, and no part of it was lost."""
    ends = [n for n, step in enumerate(stream) if _code_of(step) or isinstance(step, Done)]
    heard = stream[: ends[0]] if ends else stream
    end = stream[ends[0]] if ends else None
    code = _code_of(end) if end is not None else None
    outputs = [n for n, step in enumerate(heard) if _says(step)]
    reasons = [n for n, step in enumerate(heard) if isinstance(step, Finish | LastText)]
    texts = [_words(heard[n]) for n in outputs]
    is_nothing = end is None and all(step == THOUGHT for step in stream)
    no_end = "upstream_error" if is_nothing else "upstream_truncated"
    failed = Expected(texts, None, code or no_end)
    if not reasons or isinstance(end, Finish):
        return failed
    reason = _reason(heard[reasons[-1]])
    is_last_word = not any(n > reasons[-1] for n in outputs)
    was_right = not any(n > reasons[0] for n in outputs)
    has_more = bool(outputs) or any(isinstance(step, Usage) for step in heard) or reason != "stop"
    if isinstance(end, Done):
        is_whole = True
    elif end is None:
        is_whole = is_last_word and has_more
    else:
        is_whole = was_right and bool(outputs) and end != Raw(GARBAGE)
    has_calls = any(isinstance(heard[n], ToolCall) for n in outputs)
    translated = "tool_calls" if reason == "stop" and has_calls else reason
    return Expected(texts, translated, None) if is_whole else failed


def _code_of(step: StreamStep) -> str | None:
    """The code of the failure that a step is, if nothing has ended before it."""
    match step:
        case Cut():
            return "upstream_truncated"
        case Silence():
            return "upstream_stalled"
        case Error(code="rate_limit_exceeded"):
            return "upstream_rate_limited"
        case Error():
            return "upstream_error"
        case Finish(reason) if reason in _FAILURES:
            return "upstream_error"
    return "upstream_error" if step == Raw(GARBAGE) else None


def _says(step: StreamStep) -> bool:
    return isinstance(step, LastText) or (not isinstance(step, Silence) and is_output(step))


def _words(step: StreamStep) -> str:
    match step:
        case ToolCall(arguments):
            return arguments
        case Text(text) | Reasoning(text) | Refusal(text) | LastText(text):
            return text
    raise AssertionError(step)


def _reason(step: StreamStep) -> str:
    assert isinstance(step, Finish | LastText)
    return _TRANSLATED.get(step.reason, step.reason)
