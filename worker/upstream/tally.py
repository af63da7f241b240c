"""Pure: what an attempt has produced so far."""

import hashlib
from typing import Any

from tickertape.broker.provider_fields import LOGPROBS
from tickertape.worker.upstream.chunk_json import Chunk
from tickertape.worker.upstream.ending import End, Ending
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.usage import read_usage


class Tally:
    """The output of an attempt so far.

    `deltas` counts the deltas. `has_output`: there was output of any kind. `has_only_text`: all
    output so far was deltas. `refusals`, `calls` and `reasoning` are the pieces of those kinds.
    With `runs_tools`, the calls were run by the source, and are no matter of the client.
    `usage` is the last usage that the upstream sent. If the attempt continues a partial answer, the
    tally starts from `kept_text`, which came in `kept_deltas` entries.
    """

    def __init__(self, kept_text: str = "", kept_deltas: int = 0) -> None:
        self._texts = [kept_text]
        self._kept_deltas = kept_deltas
        self.deltas = kept_deltas
        self.has_output = bool(kept_text)
        self.has_only_text = True
        self.refusals: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.runs_tools = False
        self.reasoning: list[str] = []
        self.ending = Ending()
        self.usage: dict[str, Any] | None = None
        # The most deltas that the answer had when all of it came again; 0 if it came once.
        self.replayed = 0

    @property
    def text(self) -> str:
        """All `delta` text, kept text included."""
        return "".join(self._texts)

    @property
    def new_text(self) -> str:
        """The `delta` text of this attempt."""
        return "".join(self._texts[1:])

    @property
    def has_new_output(self) -> bool:
        """Whether this attempt has output."""
        return self.deltas > self._kept_deltas or not self.has_only_text

    def ask_again(self) -> None:
        """Forget what a call without output has said about its end."""
        self.ending, self.usage = Ending(), None

    def replay(self) -> None:
        """Count from the beginning, because all of the answer comes again. Readers have output."""
        self.replayed = max(self.replayed, self.deltas)
        self._texts, self._kept_deltas, self.deltas = [""], 0, 0
        self.refusals, self.calls, self.reasoning = [], [], []
        self.has_only_text = True
        self.ask_again()

    @property
    def finish_reason(self) -> str | None:
        """The last finish_reason of the upstream, in OpenAI's words; None before the first one.

        Gemini and some servers send `stop` after tool calls, and agents then run no tool:
        https://github.com/googleapis/python-genai/issues/2868
        """
        reason = self.ending.reason
        awaits_results = bool(self.calls) and not self.runs_tools
        return "tool_calls" if reason == "stop" and awaits_results else reason

    @property
    def sha256(self) -> str:
        """The checksum of `text` in UTF-8, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def is_completed_by(self, end: End) -> bool:
        """Whether the answer is complete if its stream ends in this way."""
        has_usage = bool(self.usage)
        return self.ending.completes(end, has_output=self.has_new_output, has_usage=has_usage)

    def record_usage(self, chunk: Chunk) -> None:
        """Keep the usage of a chunk, if it has one."""
        if chunk.usage:
            self.usage = read_usage(chunk.usage)

    @property
    def called(self) -> dict[str, Any] | None:
        """The tool calls of the client, with the reasoning that led to them; None without calls."""
        if not self.calls or self.runs_tools:
            return None
        return {"calls": self.calls, "reasoning": "".join(self.reasoning)}

    def add(self, piece: Piece) -> None:
        """Count one piece of output."""
        self.has_output = True
        if piece.kind != "delta" or not piece.text:
            # Log probabilities alone are not output.
            if not piece.x or piece.x.keys() != {LOGPROBS}:
                self.has_only_text = False
            if piece.kind == "reasoning":
                self.reasoning.append(piece.text)
            elif piece.kind == "refusal":
                self.refusals.append(piece.text)
            elif piece.kind == "tool_call" and piece.data is not None:
                self.calls.append(piece.data)
            return
        self._texts.append(piece.text)
        self.deltas += 1
