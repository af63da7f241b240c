"""Pure: the question about a title, and the title in the model's answer."""

import re
import unicodedata
from typing import Any

MAX_CHARS = 80
_QUESTION_CHARS = 2000
_ANSWER_CHARS = 1000
_ASK = (
    "Write a title for the conversation below: at most six words, in the language of the question. "
    "Reply with the title alone, without quotation marks and without Markdown."
)
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_LABEL = re.compile(r"^(title|tit(?:el|re|olo)|título|标题)\s*[:\uff1a]\s*", re.IGNORECASE)
_AROUND = " \t#*_`~>-\"'“”„‘’‚«»「」『』"  # noqa: RUF001
# Both join the parts of letters and emoji. All other characters of their category are dropped:
# some of them turn the direction of the text around.
_JOINERS = "\u200c\u200d"


def title_request(messages: list[dict[str, Any]], answer: str) -> list[dict[str, Any]]:
    """The messages that ask for a title; empty if question and answer have no text.

    One message of the user holds everything, because some models accept no system message.
    """
    question = _text_of(messages)
    if not question and not answer.strip():
        return []
    parts = [_ASK, f"Question:\n{question[:_QUESTION_CHARS]}", f"Answer:\n{answer[:_ANSWER_CHARS]}"]
    return [{"role": "user", "content": "\n\n".join(parts)}]


def clean_title(text: str) -> str:
    """The title in a model's answer: one line of at most MAX_CHARS; empty if there is none.

    Thoughts, labels, quotation marks, Markdown and control characters are left out.
    """
    for line in _THOUGHT.sub("", text).splitlines():
        title = _LABEL.sub("", _plain(line).strip(_AROUND)).strip(_AROUND)
        # A line that ends with a colon announces the title.
        if title and not title.endswith((":", "\uff1a")):
            return _cut(title.rstrip(".。").rstrip())
    return ""


def _text_of(messages: list[dict[str, Any]]) -> str:
    texts: list[str] = []
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        if message.get("role") == "user":
            found = [part.get("text") for part in parts if isinstance(part, dict)]
            texts += [text for text in found if isinstance(text, str)]
    return "\n".join(texts).strip()


def _plain(line: str) -> str:
    kept = [
        char if char in _JOINERS or unicodedata.category(char) not in {"Cf", "Cs", "Co"} else ""
        for char in line
    ]
    spaced = "".join(" " if unicodedata.category(char) == "Cc" else char for char in "".join(kept))
    return " ".join(spaced.split())


def _cut(title: str) -> str:
    if len(title) <= MAX_CHARS:
        return title
    end = title.rfind(" ", 0, MAX_CHARS)
    return f"{title[: end if end > 0 else MAX_CHARS - 1]}…"
