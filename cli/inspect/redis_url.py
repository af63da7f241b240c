"""The Redis of commands that connect to it directly."""

from pathlib import Path

from tickertape.cli.exits import CommandFailed, Exit
from tickertape.runtime.settings import Settings


def redis_url(settings: Settings, data_dir: Path) -> str:
    """REDIS_URL, else the embedded server of a running `tickertape up`; raises CommandFailed."""
    return settings.redis_url or _embedded_url(data_dir, settings)


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
