"""Every upstream has its own words for how an answer ended."""

import pytest

from tests.support.script import Finish, Step, Text, ToolCall, bytes_of
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.errors import UpstreamFault, UpstreamGarbage
from tickertape.worker.upstream.finish_reasons import failure_for, translate_finish_reason
from tickertape.worker.upstream.tally import Tally


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("function_call", "function_call"),
        ("eos", "stop"),  # Together
        ("eos_token", "stop"),  # TGI
        ("end_turn", "stop"),  # Anthropic
        ("stop_sequence", "stop"),
        ("STOP", "stop"),  # Gemini
        ("COMPLETE", "stop"),  # Cohere
        ("normal", "stop"),  # Baidu
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("maxTokens", "length"),
        ("model_length", "length"),  # Mistral
        ("model_context_window_exceeded", "length"),  # Anthropic, Zhipu
        ("ERROR_LIMIT", "length"),  # Cohere: the context is full
        ("FINISH_REASON_MAX_TOKENS", "length"),
        ("tool_use", "tool_calls"),
        ("TOOL_CALL", "tool_calls"),
        ("sensitive", "content_filter"),  # Zhipu, Tencent
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("content-filter", "content_filter"),
        ("content_filtered", "content_filter"),  # Bedrock
        ("ContentFiltered", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("refusal", "content_filter"),  # Anthropic
        ("content_filter: RECITATION", "content_filter"),
        ("null", None),  # Alibaba, with every chunk but the last
        ("", None),
        ("FINISH_REASON_UNSPECIFIED", None),
        ("a new word", "a new word"),
        ("Repetition", "Repetition"),
        ("x" * 1000, "x" * 100),
    ],
)
def test_a_finish_reason_is_translated_to_openai_s_or_kept(sent: str, meant: str | None) -> None:
    assert translate_finish_reason(sent) == meant
    assert meant is None or failure_for(meant) is None


@pytest.mark.parametrize(
    ("sent", "failure"),
    [
        ("error", UpstreamFault),
        ("ERROR", UpstreamFault),
        ("abort", UpstreamFault),
        ("network_error", UpstreamFault),
        ("insufficient_system_resource", UpstreamFault),
        ("timeout", UpstreamFault),
        ("MALFORMED_FUNCTION_CALL", UpstreamGarbage),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", UpstreamGarbage),
        ("malformed_model_output", UpstreamGarbage),
    ],
)
def test_a_finish_reason_of_a_broken_answer_is_a_failure_that_names_it(
    sent: str, failure: type[UpstreamFault]
) -> None:
    word = translate_finish_reason(sent)
    assert word is not None
    found = failure_for(word)
    assert type(found) is failure
    assert word in found.message


_CALL = ToolCall("{}", name="add", call_id="c")


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([_CALL, Finish("stop")], "tool_calls"),
        ([Text("Adding."), _CALL, Finish("STOP")], "tool_calls"),
        ([_CALL, Finish("length")], "length"),
        ([Text("5"), Finish("stop")], "stop"),
    ],
)
def test_an_answer_with_calls_that_stops_has_ended_for_its_calls(
    steps: list[Step], reason: str
) -> None:
    tally = Tally()
    reader = ChunkReader(tally)
    for step in steps:
        reader.read(bytes_of(step).removeprefix(b"data: ").strip())
    assert tally.finish_reason == reason
