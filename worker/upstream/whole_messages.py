"""Pure: a chunk's `message`, where others have a `delta`.

A stream of messages adds up like one of deltas, and an answer that is not streamed is one message.
Behind deltas a message repeats the whole answer: MiniMax ends its streams with one
(https://github.com/GCWing/OpenBitFun/pull/792), Perplexity has one that grows beside each delta.
"""

from collections.abc import Sequence

from tickertape.worker.upstream.chunk_json import Delta


def delta_of(message: Delta) -> Delta:
    """A message as what it adds: its calls have no index, since they stand in their order."""
    for place, call in enumerate(message.tool_calls or ()):
        if call.index is None:
            call.index = place
    return message


def remaining_delta(
    message: Delta,
    text: str,
    reasoning: Sequence[object],
    refusals: Sequence[object],
    calls: Sequence[object],
) -> Delta:
    """What a message has that the deltas before it, told kind by kind, had not."""
    content = message.content or ""
    thought = message.reasoning_content or message.reasoning
    return Delta(
        content=content[len(text) :] if content.startswith(text) else None,
        reasoning_content=None if reasoning else thought,
        refusal=None if refusals else message.refusal,
        tool_calls=None if calls else delta_of(message).tool_calls,
    )
