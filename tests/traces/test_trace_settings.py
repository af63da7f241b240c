"""Which variables of OpenTelemetry turn traces on, and what is logged if they cannot be."""

import os
import sys

import pytest
import structlog

from tests.support.spans import collecting
from tests.support.wait import wait_until
from tickertape.runtime.trace_settings import choose, open_tracer

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not depend on the machine's own variables."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("given", "exporters"),
    [
        ({}, ()),
        (ENDPOINT, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector/v1/traces"}, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ("otlp", "console")),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, ()),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, ()),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318"}, ()),
    ],
)
def test_traces_are_on_where_a_variable_names_a_collector_or_an_exporter(
    given: dict[str, str], exporters: tuple[str, ...]
) -> None:
    choice = choose(given)
    assert (choice.exporters, choice.problem) == (exporters, "")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'"),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'",
        ),
    ],
)
def test_a_variable_that_cannot_be_followed_turns_traces_off_and_is_named(
    given: dict[str, str], problem: str
) -> None:
    choice = choose(given)
    assert (choice.exporters, choice.problem) == ((), problem)
    assert choice.fix


def test_the_conventions_for_generative_ai_need_their_opt_in() -> None:
    assert not choose(ENDPOINT).has_gen_ai
    opted = {**ENDPOINT, "OTEL_SEMCONV_STABILITY_OPT_IN": "http, gen_ai_latest_experimental"}
    assert choose(opted).has_gen_ai


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tickertape.runtime.open_telemetry", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    with structlog.testing.capture_logs() as logged:
        assert open_tracer("tickertape-api") is None
    assert logged == [
        {
            "event": "traces are off",
            "log_level": "warning",
            "problem": "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed",
            "fix": "install Tickertape with its extra `traces`, as docs/traces.md shows",
        }
    ]


def test_without_such_a_variable_nothing_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tickertape.runtime.open_telemetry", None)
    with structlog.testing.capture_logs() as logged:
        assert open_tracer("tickertape-api") is None
    assert logged == []


async def test_a_collector_that_refuses_is_one_line_of_the_log_and_its_recovery_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with collecting() as collector:
        collector.status = 400
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a-secret")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "chat")
        with structlog.testing.capture_logs() as logged:
            tracer = open_tracer("tickertape-api")
            assert tracer is not None
            for number in range(2):
                tracer.begin("refused").end()
                await wait_until(
                    lambda number=number: collector.batches > number,  # type: ignore[misc]  # bound
                    description="a batch",
                )
            collector.status = 200
            tracer.begin("taken").end()
            await wait_until(lambda: collector.seen, description="the spans")
            tracer.close()
    assert [each["event"] for each in logged] == [
        "traces are on",
        "traces are not delivered",
        "traces are delivered again",
    ]
    assert collector.one("taken").service == "chat"
    assert "secret" not in str(logged)
