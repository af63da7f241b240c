"""Reads what a GGUF model file says about itself, without loading the model.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

Value: TypeAlias = int | float | bool | str | None

_MAGIC = b"GGUF"
_VERSIONS = frozenset({2, 3})
# More than the largest files have. A damaged file could otherwise name any number.
_MOST_FIELDS = 10_000
_MOST_TEXT_BYTES = 16 * 1024 * 1024
_MOST_ITEMS = 10_000_000
_STRING, _ARRAY = 8, 9
_FORMATS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip


class GgufInvalid(Exception):
    """The file is not a GGUF model that can answer. The message says why, without its path."""


@dataclass(frozen=True)
class GgufInfo:
    """What matters for a start: the context of the model's training, and whether it can chat."""

    architecture: str
    context_tokens: int | None
    has_chat_template: bool


def read_gguf(path: Path) -> GgufInfo:
    """What the file says. Raises GgufInvalid, and OSError if the file cannot be read."""
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:
            raise GgufInvalid("it is not a GGUF file")
        try:
            fields = _fields(file)
        except (struct.error, UnicodeDecodeError, KeyError, ValueError):
            raise GgufInvalid("it is damaged, or not completely downloaded") from None
    kind = fields.get("general.type", "model")
    architecture = str(fields.get("general.architecture") or "")
    if kind != "model" or not architecture or architecture == "clip":
        raise GgufInvalid("it is not a language model")
    context = fields.get(f"{architecture}.context_length")
    return GgufInfo(
        architecture,
        context if isinstance(context, int) and context > 0 else None,
        "tokenizer.chat_template" in fields,
    )


def _fields(file: BinaryIO) -> Mapping[str, Value]:
    """The fields by their names, without the values of arrays."""
    version, _tensors, count = _number(file, "<I"), _number(file, "<Q"), _number(file, "<Q")
    if version not in _VERSIONS:
        raise GgufInvalid(f"its format version is {version}, and 2 and 3 are supported")
    if count > _MOST_FIELDS:
        raise ValueError(count)
    return {_text(file): _value(file, int(_number(file, "<I"))) for _ in range(int(count))}


def _value(file: BinaryIO, kind: int) -> Value:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        _skip_array(file)
        return None
    return _number(file, _FORMATS[kind])


def _skip_array(file: BinaryIO) -> None:
    kind, count = int(_number(file, "<I")), int(_number(file, "<Q"))
    if count > _MOST_ITEMS:
        raise ValueError(count)
    if kind == _STRING:
        for _ in range(count):
            file.seek(_length(file), 1)
    else:
        file.seek(count * struct.calcsize(_FORMATS[kind]), 1)


def _text(file: BinaryIO) -> str:
    length = _length(file)
    data = file.read(length)
    if len(data) < length:
        raise ValueError(length)
    return data.decode()


def _length(file: BinaryIO) -> int:
    length = int(_number(file, "<Q"))
    if length > _MOST_TEXT_BYTES:
        raise ValueError(length)
    return length


def _number(file: BinaryIO, form: str) -> int | float | bool:
    number: int | float | bool = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    return number
