"""Pure: chunks that have a `message` instead of a `delta`, or beside it.

A stream of messages adds up like a stream of deltas. An answer that is not streamed is one message.
A message after deltas repeats the whole answer: MiniMax ends its streams with one
(https://github.com/GCWing/OpenBitFun/pull/792), and Perplexity sends one, which grows, with each
delta.
"""

from collections.abc import Sequence

from tickertape.worker.upstream.chunk_json import Delta


def delta_of(message: Delta) -> Delta:
    """A message as a delta. Its tool calls get their position as index, since messages omit it."""
    for index, call in enumerate(message.tool_calls or ()):
        if call.index is None:
            call.index = index
    return message


def remaining_delta(
    message: Delta,
    text: str,
    reasoning: Sequence[object],
    refusals: Sequence[object],
    calls: Sequence[object],
) -> Delta:
    """The part of a message that the deltas before it lack; the arguments are the output so far."""
    content = message.content or ""
    new_reasoning = message.reasoning_content or message.reasoning
    return Delta(
        content=content[len(text) :] if content.startswith(text) else None,
        reasoning_content=None if reasoning else new_reasoning,
        refusal=None if refusals else message.refusal,
        tool_calls=None if calls else delta_of(message).tool_calls,
    )
