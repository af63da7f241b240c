"""Whether this process makes traces: what the variables of OpenTelemetry say.

They are the names that every program with OpenTelemetry reads, so no setting of Tickertape repeats
them. Traces are off unless a variable names a collector or an exporter, and a process whose traces
are off loads nothing of OpenTelemetry's SDK. A wrong variable turns traces off and never stops a
start, because such variables are often set for a whole machine.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from tickertape.runtime.environment import given_variables
from tickertape.runtime.tracing import Tracer

logger = structlog.get_logger()

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_EXPORTERS = {"otlp", "console"}
_GEN_AI = "gen_ai_latest_experimental"
_INSTALL = "install Tickertape with its extra `traces`, as docs/traces.md shows"


@dataclass(frozen=True)
class TraceChoice:
    """The exporters that the variables ask for; without any, traces are off.

    `problem` says why they are off although a variable asks for them, and `fix` what to do.
    """

    exporters: tuple[str, ...] = ()
    has_gen_ai: bool = False
    problem: str = ""
    fix: str = ""


_OFF = TraceChoice()


def choose(given: Mapping[str, str]) -> TraceChoice:
    """Pure: what the variables ask for."""
    if given.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return _OFF
    default = "otlp" if any(given.get(name) for name in _ENDPOINTS) else "none"
    names = _words(given.get("OTEL_TRACES_EXPORTER") or default)
    if unknown := [name for name in names if name not in _EXPORTERS | {"none"}]:
        return TraceChoice(
            problem=f"OTEL_TRACES_EXPORTER is {unknown[0]!r}",
            fix="set it to otlp, console or none",
        )
    exporters = tuple(name for name in names if name != "none")
    protocol = next((given[name] for name in _PROTOCOLS if given.get(name)), _PROTOCOL)
    if "otlp" in exporters and protocol != _PROTOCOL:
        return TraceChoice(
            problem=f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}",
            fix=f"set it to {_PROTOCOL}, and the endpoint to the collector's port for HTTP (4318)",
        )
    conventions = _words(given.get("OTEL_SEMCONV_STABILITY_OPT_IN", ""))
    return TraceChoice(exporters, has_gen_ai=_GEN_AI in conventions)


def open_tracer(service: str) -> Tracer | None:
    """What makes the traces of this process, if they are on. Logs why a wish cannot be granted.

    `service` is the name in traces if OTEL_SERVICE_NAME is not set. Close the tracer at the end.
    Raises SettingsInvalid if the `.env` file cannot be read.
    """
    given = {
        name: value
        for name, value in given_variables().items()
        if name.startswith("OTEL_") and value
    }
    choice = choose(given)
    if not choice.exporters:
        if choice.problem:
            logger.warning("traces are off", problem=choice.problem, fix=choice.fix)
        return None
    # The SDK reads its variables by itself, and knows no .env file.
    os.environ.update(given)
    try:
        from tickertape.runtime.open_telemetry import (  # noqa: PLC0415  # only if traces are on
            OpenTelemetryTracer,
            make_exporter,
        )
    except ImportError:
        asking = next(name for name in ("OTEL_TRACES_EXPORTER", *_ENDPOINTS) if name in given)
        problem = f"{asking} is set, and OpenTelemetry is not installed"
        logger.warning("traces are off", problem=problem, fix=_INSTALL)
        return None
    try:
        exporters = [make_exporter(name) for name in choice.exporters]
        tracer = OpenTelemetryTracer(service, exporters, has_gen_ai=choice.has_gen_ai)
    except (OSError, ValueError) as error:
        problem = f"a variable of OpenTelemetry is wrong ({type(error).__name__})"
        logger.warning("traces are off", problem=problem, fix="check the variables OTEL_*")
        return None
    logger.info("traces are on", exporters=",".join(choice.exporters), gen_ai=choice.has_gen_ai)
    return tracer


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]
