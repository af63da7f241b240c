"""All checks of one role, and those of them that every start makes."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from tickertape.broker.connections import ConnectionTiming
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.server_facts import read_start_facts
from tickertape.cli.checks import machine, of_history, of_settings, of_table, of_webhooks, servers
from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import OF_API, OF_DELIVER, OF_WORKER, Finding, Level, Role, ok
from tickertape.cli.up.environment import needs_redis
from tickertape.runtime.environment import (
    given_variables,
    load_settings,
    old_names_in_use,
    variable_names,
    wrong_lines,
)
from tickertape.runtime.settings import ENV_FILE, Settings

# A start must not wait for a server that hangs: its own connections wait, and say so.
_START_LIMIT_S = 1.0
_START_TIMING = ConnectionTiming(
    connect_timeout_s=_START_LIMIT_S,
    command_timeout_s=_START_LIMIT_S,
    command_limit_s=_START_LIMIT_S,
)


@dataclass(frozen=True)
class Place:
    """Where a process would run: the address of the API, and the data folder of `up`."""

    host: str
    port: int
    data_dir: Path


async def examine(role: Role, place: Place) -> list[Finding]:
    """Every check of this role. Starts and changes nothing."""
    found = [*machine.program(), *_variables()]
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        return [*found, *of_settings.invalid_values(str(error).splitlines())]
    found += [_env_file(), *of_settings.unwise_values(settings, role)]
    found += await servers.redis(settings, role)
    if role in OF_WORKER:
        found += await servers.upstream(settings, role)
        found += machine.health_port(settings)
    if role in OF_DELIVER:
        found += machine.deliver_port(settings)
    if role != "worker":
        found += await of_webhooks.findings(settings)
        found += await of_history.findings(settings)
    if role in OF_API:
        found += [each async for each in _edge(settings, place)]
    found.append(machine.open_files())
    if role == "up" and needs_redis(settings):
        found.append(machine.data_directory(place.data_dir))
    return found


def _variables() -> Iterator[Finding]:
    try:
        given, old, lines = given_variables(), old_names_in_use(), wrong_lines()
    except SettingsInvalid:
        return  # the settings cannot be read either, which is reported there
    yield from of_settings.old_variables(old)
    yield from of_settings.unknown_variables(given, [*variable_names(), *old])
    for number in lines:
        yield CASES["settings-line"].found(number=number)


def _env_file() -> Finding:
    exists = Path(ENV_FILE).is_file()
    text = f"{ENV_FILE} is read" if exists else f"no {ENV_FILE} in this directory"
    return ok("settings-read", text)


async def _edge(settings: Settings, place: Place) -> AsyncIterator[Finding]:
    yield await machine.listening(place.host, place.port)
    for found in (
        machine.access(settings, place.host),
        machine.roles(settings),
        machine.audit_log(settings),
    ):
        for each in found:
            yield each


async def check_start(settings: Settings, role: Role) -> list[Finding]:
    """The warnings of a start; raises SettingsInvalid, with a fix, for what only settings can mend.

    Looks at the settings and at the server of REDIS_URL, for at most a second. What a start tries
    itself is not tried twice: its address, its keys, its roles, and the right to each command.
    """
    found = [*_variables(), *of_settings.unwise_values(settings, role), machine.open_files()]
    if role in OF_API:
        found += machine.key_file(settings)
    if role != "worker":
        found += machine.webhooks(settings)
    if role in OF_WORKER and settings.upstreams is not None:
        found += of_table.problems(settings.upstreams)
    if settings.redis_url is not None:
        found += await servers.redis(
            settings, role, read=read_start_facts, limit_s=_START_LIMIT_S, timing=_START_TIMING
        )
    if fatal := [each.line for each in found if each.ends_start]:
        raise SettingsInvalid("\n".join(fatal))
    return [each for each in found if each.level is not Level.OK]
