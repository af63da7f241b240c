"""The title in a model's answer, and the question about it."""

import pytest

from tickertape.worker.title_words import MAX_CHARS, clean_title, title_request


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Three days in Rome", "Three days in Rome"),
        ('"Three days in Rome."\n', "Three days in Rome"),
        ("**Title:** Three days in Rome", "Three days in Rome"),
        ("# Ferien in Rom", "Ferien in Rom"),
        ("Sure, here is a title:\n\n„Ferien in Rom“", "Ferien in Rom"),
        ("<think>The user wants a title.\n</think>\nWhy is the sky blue?", "Why is the sky blue?"),
        ("<think>The limit came first", ""),
        ("罗马三日游。", "罗马三日游"),
        ("a\u202eb\x1b[31m\x00c\td", "ab [31m c d"),
        ("\ud800x\u200by", "xy"),
        ("👩\u200d🚀 in space", "👩\u200d🚀 in space"),
        ("", ""),
        (' \n""\n***\n', ""),
        ("word " * 50, "word " * 15 + "word…"),
        ("x" * 500, "x" * (MAX_CHARS - 1) + "…"),
    ],
)
def test_a_title_is_one_plain_line(answer: str, title: str) -> None:
    assert clean_title(answer) == title
    assert len(title) <= MAX_CHARS


def test_the_question_about_a_title_has_a_part_of_the_texts_and_no_files() -> None:
    content = [{"type": "image_url", "image_url": {"url": "data:"}}, {"text": "Who?" * 9999}]
    [message] = title_request(
        [{"role": "system", "content": "S"}, {"role": "user", "content": content}], "Ada. " * 9999
    )
    assert message["role"] == "user"
    assert "Who?Who?" in message["content"]
    assert "data:" not in message["content"]
    assert len(message["content"]) < 4000


def test_without_text_there_is_no_question_about_a_title() -> None:
    assert title_request([{"role": "user", "content": None}], " ") == []
