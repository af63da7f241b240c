"""Pure: checks of the settings alone."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import OF_API, OF_WORKER, Finding, Role
from tickertape.runtime.setting_names import unknown_names
from tickertape.runtime.settings import ENV_FILE, Settings

# nginx, HAProxy and load balancers allow a minute between two bytes. A stream is silent for up to
# two intervals, and timers may be late.
_SILENCE_S = 25
_SHORTEST_RETENTION_S = 60
# Names of other programs for the same things.
_FOREIGN = {
    "OPENAI_API_BASE": "OPENAI_BASE_URL",
    "OPENAI_URL": "OPENAI_BASE_URL",
    "OPENAI_KEY": "OPENAI_API_KEY",
    "OPENAI_MODEL_NAME": "OPENAI_MODEL",
}
_CLOSE = 0.87


def unknown_variables(given: Mapping[str, str | None], known: Sequence[str]) -> Iterator[Finding]:
    """Variables that nothing reads: those with our prefix, and those that are nearly a setting."""
    for name, close in unknown_names(given, known).items():
        fix = f"did you mean {close}?" if close else "remove it"
        yield CASES["settings-unknown"].found(name=name, fix=fix)
    for name, close in _near_names(given, known):
        yield CASES["settings-near"].found(name=name, close=close)


def _near_names(given: Mapping[str, str | None], known: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name, value in sorted(given.items()):
        if not value or name.upper() in known or name.startswith("TICKERTAPE_"):
            continue
        close = _FOREIGN.get(name) or next(
            iter(difflib.get_close_matches(name, known, 1, _CLOSE)), None
        )
        if close is not None and not given.get(close):
            yield name, close


def old_variables(names: Mapping[str, str]) -> list[Finding]:
    """Variables that have been renamed."""
    return [CASES["settings-old"].found(old=old, new=new) for old, new in names.items()]


def invalid_values(lines: Iterable[str]) -> list[Finding]:
    """The lines of a SettingsInvalid, each of which names a variable or the file."""
    return [_invalid(line) for line in lines]


def _invalid(line: str) -> Finding:
    problem, _, fix = line.partition("; ")
    if fix and line.startswith(ENV_FILE):
        return CASES["settings-env"].found(problem=problem, fix=fix)
    return CASES["settings-value"].found(problem=line)


def unwise_values(settings: Settings, role: Role = "up") -> Iterator[Finding]:
    """Values that are allowed, and most likely not what was meant."""
    if settings.retention_s < _SHORTEST_RETENTION_S:
        yield CASES["settings-retention"].found(retention=settings.retention_s)
    if role in OF_API:
        yield from _of_api(settings)
    if role in OF_WORKER and settings.deadline_s < settings.first_byte_s:
        yield CASES["settings-deadline"].found(
            deadline=f"{settings.deadline_s:g}", first_byte=f"{settings.first_byte_s:g}"
        )


def _of_api(settings: Settings) -> Iterator[Finding]:
    for origin in settings.origins:
        if (instead := _origin(origin)) != origin:
            yield CASES["settings-cors"].found(origin=origin, instead=instead)
    if settings.heartbeat_s > _SILENCE_S:
        heartbeat = f"{settings.heartbeat_s:g}"
        yield CASES["settings-heartbeat"].found(heartbeat=heartbeat)
    if settings.tenant_limit > settings.queue_limit:
        tenant, queue = settings.tenant_limit, settings.queue_limit
        yield CASES["settings-tenant-limit"].found(tenant=tenant, queue=queue)


def _origin(text: str) -> str:
    """The text as browsers write an origin: scheme, host and port, in small letters."""
    if text == "*":
        return text
    parts = urlsplit(text if "://" in text else f"https://{text}")
    return f"{parts.scheme}://{parts.netloc.lower()}"
