"""The Redis of commands that connect to it directly, and their ends without it."""

from pathlib import Path

from tickertape.broker.contact import trouble_of
from tickertape.broker.errors import Unavailable
from tickertape.cli.checks.of_redis import unreachable
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.runtime.addresses import hide_secrets
from tickertape.runtime.settings import Settings


def redis_url(settings: Settings, data_dir: Path) -> str:
    """REDIS_URL, else the embedded server of a running `tickertape up`; raises CommandFailed."""
    return settings.redis_url or _embedded_url(data_dir, settings)


def command_failed(error: Unavailable, url: str) -> CommandFailed:
    """The end of a command that Redis did not serve, with what to do about that."""
    found = unreachable(trouble_of(error), hide_secrets(url))
    return CommandFailed(found.line, Exit.USAGE if found.ends_start else Exit.FAILED)


def _embedded_url(data_dir: Path, settings: Settings) -> str:
    """The URL of the embedded server of the `tickertape up` that uses this folder."""
    from tickertape.cli.up.data_dir import DataDir
    from tickertape.cli.up.upstream_data import all_data_dirs, data_dir_of
    from tickertape.cli.up.upstream_identity import upstream_identity

    # The server of the upstream in the settings comes first; without one, any that runs.
    own_dir = data_dir_of(data_dir, upstream_identity(settings))
    for folder in (own_dir, *all_data_dirs(data_dir)):
        if not folder.exists():
            continue
        home = DataDir(folder)
        if home.port():
            return f"redis://:{home.password()}@127.0.0.1:{home.port()}/0"
    raise CommandFailed(
        f"REDIS_URL is not set, and no `tickertape up` runs with --data-dir {data_dir}."
        " Set REDIS_URL, or name the folder with --data-dir.",
        Exit.USAGE,
    )
