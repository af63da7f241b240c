"""Pure: the title that a conversation gets from the first words of its first question."""

from typing import Any

MAX_TITLE_CHARS = 200
_WORDS_CHARS = 60
# A question may have megabytes, of which a title needs the beginning.
_READ_CHARS = 2000


def title_of(messages: list[dict[str, Any]]) -> str:
    """The first words of the user's text, cut at the end of a word; empty without text."""
    for message in messages:
        if message.get("role") == "user" and (title := _first_words(message.get("content"))):
            return title
    return ""


def _first_words(content: Any) -> str:
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    text = " ".join(text[:_READ_CHARS] for text in texts if isinstance(text, str))
    words = " ".join(text.split())
    if len(words) <= _WORDS_CHARS:
        return words
    # Without a space, the text is one long word, or of a script that writes none.
    end = words.rfind(" ", 0, _WORDS_CHARS)
    return f"{words[: end if end > 0 else _WORDS_CHARS - 1]}…"
