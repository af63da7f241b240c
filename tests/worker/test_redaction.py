import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.worker.upstream.redaction import MAX_CHARS, redacted

KEY = "not-shaped-like-a-key-42"


def shown(message: str, *texts: str) -> str:
    payload = {"messages": [{"role": "user", "content": text} for text in texts]}
    return redacted(message, secrets=[KEY], payload=payload)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"key {KEY} is unknown", "key […] is unknown"),
        ("Incorrect API key provided: sk-proj-abc*****xyz.", "Incorrect API key provided: […]."),
        ("got Authorization: Bearer abc.def-ghi today", "got Authorization: Bearer […] today"),
        ("api_key='hunter2hunter2' is wrong", "api_key='[…] is wrong"),
        ("no route to http://me:pass@host/v1", "no route to http://[…]@host/v1"),
        ("gsk_abcdefghijkl and hf_abcdefghijkl", "[…] and […]"),
        ("AIza" + "x" * 35, "[…]"),
        ("maximum context length is 8192 tokens", "maximum context length is 8192 tokens"),
        ("", ""),
    ],
)
def test_keys_are_masked(message: str, expected: str) -> None:
    assert shown(message) == expected


def test_a_dummy_key_masks_nothing() -> None:
    assert redacted("none of these", secrets=["none"], payload={}) == "none of these"


PROMPT = "My cat is called Miezi.\nShe has never seen the sea.\n我的猫叫咪咪。"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"Invalid content: '{PROMPT}'", "Invalid content: '[…]'"),
        ("input was 'My cat is called Mie...", "input was '[…]..."),
        ("at\\nShe has never seen it", "at\\n[…]it"),
        ("'called Miezi.\\nShe has never...': no", "'[…]\\n[…]...': no"),
        ("内容我的猫叫咪咪错误", "内容[…]错误"),
        ("My dog is well", "My dog is well"),
        ("the seaside", "the seaside"),
        ("一只猫", "一只猫"),
    ],
)
def test_runs_of_the_prompt_are_masked(message: str, expected: str) -> None:
    assert shown(message, "first message", PROMPT) == expected


def test_every_text_of_the_messages_counts() -> None:
    payload: dict[str, Any] = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a secret in a part"}]},
            {"role": "assistant", "tool_calls": [{"function": {"arguments": "secret arguments"}}]},
            {"role": "user", "content": None},
        ]
    }
    message = "a secret in a part / secret arguments / assistant"
    assert redacted(message, secrets=[KEY], payload=payload) == "[…] / […] / assistant"


DATA = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" * 3000


def test_the_data_of_a_photo_is_masked_where_an_upstream_quotes_an_end_of_it() -> None:
    begin, end = "data:image/png;base64,begin", "".join(f"{number:03x}" for number in range(50))
    photo = f"{begin}{DATA}{end}"
    assert shown(f"got '{begin}'", photo) == "got '[…]'"
    assert shown(f"ends in '{end}'", photo) == "ends in '[…]'"
    assert shown(f"got '{photo[22:99]}'", photo.partition(",")[2]) == "got '[…]'"


@pytest.mark.parametrize("mark", [" ", ",", ".", '"', "\n", "é"])
def test_a_long_text_that_is_not_data_is_masked_wherever_it_is_quoted(mark: str) -> None:
    text = f"{DATA}{mark}the secret of the middle{DATA}"
    assert shown("what is 'the secret of the middle'?", text) == "what is '[…]'?"


def test_a_prompt_of_20_mb_stops_the_worker_for_a_moment_only() -> None:
    refusal = "The maximum context length is 128000 tokens, but 5000000 were sent. " * 7
    for piece, word in (
        ("lorem ipsum dolor ", "lorem ipsum dolor"),
        ("語言模型的最大", "語言模型的最大"),
    ):
        long = piece * (20_000_000 // len(piece.encode()))
        for texts in ((long,), [long[:1000]] * (len(long) // 1000)):
            began_s = time.process_time()
            message = shown(f"got '{word}': {refusal}", *texts)
            # It was 20 s, while a lease lasts 5 s.
            assert time.process_time() - began_s < 1
            assert message.startswith("got '[…]': The maximum context length")


def test_a_long_message_is_cut() -> None:
    masked = shown("x" * 10_000)
    assert len(masked) == MAX_CHARS
    assert masked.endswith("…")


@given(st.text(max_size=40), st.text(max_size=40), st.text("abc ", min_size=12, max_size=40))
def test_a_quoted_prompt_does_not_come_through(before: str, after: str, prompt: str) -> None:
    assert prompt not in shown(f"{before}'{prompt}'{after}", prompt)
