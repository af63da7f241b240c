"""Pure: an upstream's message about a request, without the keys and the prompt it may quote."""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

MAX_CHARS = 500

_MASK = "[…]"
# A prompt and an error message share shorter runs by chance. A character of a script other than
# Latin has more information.
_ECHO_CHARS = 12
_DENSE_ECHO_CHARS = 6
_SECRETS = re.compile(
    r"""
      \b(?: sk | pk | gsk | xai | hf ) [-_] [\w*-]{8,}  # as providers shape keys, starred or not
    | \b AIza [\w-]{30,}
    | (?<= bearer\s ) \S+
    | (?<= :// ) [^\s/@]+ (?= @ )                            # the user and password of a URL
    | (?P<label> (?: api[-_\s]?key | token | secret | password ) ["']? \s* [:=] \s* ["']? ) \S+
    """,
    re.IGNORECASE | re.VERBOSE,
)
# A text of this length without any of these characters is the data of a file.
_MIN_DATA_CHARS = 65_536
_NOT_IN_BASE64 = " \t\r\n\"',.:;()[]{}<>&%"
# Each word of the message is searched for in this much of a prompt: 0.1 s in all. In 20 MB of text
# the search would take longer than a lease lasts, and no other answer would go on until its end.
_MAX_SEARCHED_CHARS = 256 * 1024
_LONG_TEXT_CHARS = 16 * 1024
# Where a quote of the prompt may begin: at a word, after an escape, at any other character.
_STEP = re.compile(r"\\.|[A-Za-z0-9_]+|.", re.DOTALL)


def redacted(message: str, *, secrets: Sequence[str], payload: dict[str, Any]) -> str:
    """`message` without `secrets`, anything shaped like a key, and runs of the payload's messages.

    At most MAX_CHARS characters. If the prompt is quoted with other escapes, only its unchanged
    parts are found. In a prompt beyond _MAX_SEARCHED_CHARS, only the ends of long texts are
    searched.
    """
    for secret in secrets:
        if len(secret) >= 6:  # a dummy like "none" would mask half of the language
            message = message.replace(secret, _MASK)
    message = _SECRETS.sub(_masked, message[: 4 * MAX_CHARS])
    message = _without_echo(message[:MAX_CHARS], _searched(payload.get("messages")))
    return message if len(message) < MAX_CHARS else message[: MAX_CHARS - 1] + "…"


def _masked(secret: re.Match[str]) -> str:
    return (secret["label"] or "") + _MASK


def _without_echo(message: str, prompt: str) -> str:
    kept = []
    at = 0
    while step := _STEP.match(message, at):
        length = _echo_length(message, at, prompt)
        kept.append(_MASK if length else step[0])
        at += length or len(step[0])
    return "".join(kept)


def _echo_length(message: str, at: int, prompt: str) -> int:
    """How many characters from `at` on are a copy of some part of the prompt."""
    enough = _ECHO_CHARS if message[at : at + _DENSE_ECHO_CHARS].isascii() else _DENSE_ECHO_CHARS
    found = prompt.find(message[at : at + enough])
    if found < 0 or at + enough > len(message):
        return 0
    pairs = zip(message[at:], prompt[found : found + MAX_CHARS], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _searched(messages: Any) -> str:
    """The texts of the messages, one a line, as far as they are searched for quotes."""
    texts = [*map(_quotable, _strings(messages))]
    if sum(map(len, texts)) > _MAX_SEARCHED_CHARS:
        texts = [_ends(text) if len(text) > _LONG_TEXT_CHARS else text for text in texts]
    return "\n".join(texts)[-_MAX_SEARCHED_CHARS:]


def _ends(text: str) -> str:
    return f"{text[:MAX_CHARS]}\n{text[-MAX_CHARS:]}"


def _quotable(text: str) -> str:
    """What of a string of the prompt an upstream may quote: of a file's data, both ends.

    In the 20 MB of a photo each word of the message would be looked for, for a second in all.
    """
    if len(text) < _MIN_DATA_CHARS or not text.isascii():
        return text
    data_at = text.find(",", 0, MAX_CHARS) + 1 if text.startswith("data:") else 0
    if any(text.find(mark, data_at) >= 0 for mark in _NOT_IN_BASE64):
        return text
    return _ends(text)


def _strings(value: Any) -> Iterator[str]:
    """Every string of the messages but their roles and types."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _strings(item)
        case dict():
            for key, item in value.items():
                if key not in {"role", "type"}:
                    yield from _strings(item)
