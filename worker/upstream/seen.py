"""Pure: the output that readers have, which is left out of an answer that is read once more."""

from tickertape.worker.upstream.errors import Truncated
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.tally import Tally


class AnswerDiffers(Truncated):
    """The upstream's answer is not the one that readers have."""


class _Channel:
    """All text of one kind, and how much of it has come again."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    @property
    def is_over(self) -> bool:
        return self.at == len(self.text)

    def rest_of(self, text: str) -> str:
        """What of a text is behind this one. Raises AnswerDiffers."""
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return ""
        known = len(self.text) - self.at
        if not self.text.endswith(text[:known]) or known > len(text):
            raise AnswerDiffers
        self.at = len(self.text)
        return text[known:]


class Seen:
    """The output in `tally`, kind by kind, so that another division into pieces does not matter."""

    def __init__(self, tally: Tally) -> None:
        arguments: dict[str, list[str]] = {}
        for call in tally.calls:
            arguments.setdefault(_name_of(call["index"]), []).append(call.get("arguments", ""))
        texts = {
            "delta": tally.text,
            "reasoning": "".join(tally.reasoning),
            "refusal": "".join(tally.refusals),
            **{name: "".join(parts) for name, parts in arguments.items()},
        }
        self._calls = {*arguments}
        self._channels = {name: _Channel(text) for name, text in texts.items()}
        self.has_any = any(texts.values()) or bool(arguments)

    @property
    def is_over(self) -> bool:
        """Whether all of the output has come again."""
        return all(channel.is_over for channel in self._channels.values())

    def rewind(self) -> None:
        """Expect all of the output once more."""
        for channel in self._channels.values():
            channel.at = 0

    def new_in(self, pieces: list[Piece]) -> list[Piece]:
        """What of the next pieces readers do not have yet.

        Raises AnswerDiffers if the pieces are not those that readers have.
        """
        return [new for piece in pieces if (new := self._new_of(piece)) is not None]

    def _new_of(self, piece: Piece) -> Piece | None:
        if piece.kind == "tool_call" and piece.data is not None:
            name = _name_of(piece.data["index"])
            if name not in self._calls:
                return piece
            arguments = self._channels[name].rest_of(piece.data.get("arguments", ""))
            data = {"index": piece.data["index"], "arguments": arguments}
            return Piece("tool_call", "", data) if arguments else None
        channel = self._channels[piece.kind]
        if channel.is_over:
            # Provider fields alone have no place in a text, and come with what is new.
            return piece if piece.text or self.is_over else None
        rest = channel.rest_of(piece.text)
        return Piece(piece.kind, rest, None, piece.x) if rest else None


def _name_of(index: int) -> str:
    return f"tool call {index}"
