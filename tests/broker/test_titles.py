"""The title from the first words of a question."""

from typing import Any

import pytest

from tickertape.broker.titles import title_of


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "title"),
    [
        ([], ""),
        ([user("  Why is\nthe sky  blue? ")], "Why is the sky blue?"),
        ([{"role": "system", "content": "Be brief."}, user("hi")], "hi"),
        ([user([{"type": "image_url", "image_url": {"url": "data:"}}])], ""),
        ([user([{"type": "image_url"}, {"type": "text", "text": "Who?"}])], "Who?"),
        ([user(None), user("second")], "second"),
        ([user("word " * 30)], "word " * 11 + "word…"),
        ([user("x" * 100)], "x" * 59 + "…"),
    ],
)
def test_a_title_has_the_first_words_of_the_user(
    messages: list[dict[str, Any]], title: str
) -> None:
    assert title_of(messages) == title
