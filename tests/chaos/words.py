"""Pure: the words of scripted answers. Each has its tag, its call and its number."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_WORD = re.compile(r"(\S+?/\d+)\.(\d+)\.(\d+) ")


@dataclass(frozen=True)
class Word:
    """`ada/17.2.5`: word 5 as the second call for ada's request 17 spoke it."""

    tag: str
    call: int
    number: int

    @property
    def tenant(self) -> str:
        """The tenant of the request."""
        return self.tag.partition("/")[0]


def words_of(text: str) -> list[Word] | None:
    """The words of a text; None if the text contains anything else."""
    words = []
    at = 0
    for match in _WORD.finditer(text):
        if match.start() != at:
            return None
        words.append(Word(match[1], int(match[2]), int(match[3])))
        at = match.end()
    return words if at == len(text) else None


def is_whole(words: Iterable[Word], count: int) -> bool:
    """Whether these are all the words of an answer, each once and in order."""
    return [word.number for word in words] == list(range(count))
