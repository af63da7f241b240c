"""The lines that `up` prints."""

import contextlib
import sys
from pathlib import Path

from tickertape.cli.chat.terminal import harmless
from tickertape.cli.up.local_model import LocalModel
from tickertape.cli.up.valkey import EmbeddedServer
from tickertape.runtime.addresses import hide_secrets
from tickertape.runtime.settings import Settings


def print_line(text: str) -> None:
    """Print `text` without its control characters. Ignores a terminal that has gone away."""
    # A closed terminal must not prevent `up` from ending its processes in order.
    with contextlib.suppress(OSError):
        sys.stdout.write(harmless(text) + "\n")
        sys.stdout.flush()


def redis_line(settings: Settings, server: EmbeddedServer | None) -> str:
    """Pure: which Redis server is used; `server` is the embedded one, None with REDIS_URL."""
    if server is None:
        return f"Redis    {hide_secrets(settings.redis_url or '')}"
    owner = "of another `tickertape up`" if server.process is None else "started here"
    return f"Redis    {hide_secrets(server.url)}, {owner}, data in {server.log_path.parent}"


def model_line(settings: Settings, model: LocalModel | None) -> str:
    """Pure: which model is used; `model` is the local one, None with an upstream."""
    if model is None:
        upstream = hide_secrets(settings.openai_base_url or "https://api.openai.com/v1")
        profile = f", profile {settings.upstream_profile}" if settings.upstream_profile else ""
        return (
            f"Model    {settings.openai_model or '(named by each request)'} at {upstream}{profile}"
        )
    return (
        f"Model    {model.model} on this machine, {model.slots} concurrent answers. It is small and"
        " knows only English.\n         For a better model, set OPENAI_API_KEY or OPENAI_BASE_URL"
    )


def other_upstream_line(data_dir: Path, label: str) -> str:
    """Pure: why this upstream does not use the data of the upstream `label` in `data_dir`."""
    return (
        f"         {data_dir} itself belongs to {label}. Questions and answers of that upstream"
        " stay there."
    )


def how_to_use(url: str, *, has_keys: bool, has_proxy: bool = False) -> str:
    """Pure: shell commands that submit a message, follow it, and do both at once."""
    key = ' -H "Authorization: Bearer $TICKERTAPE_API_KEY"' if has_keys else ""
    # Without this option, curl would send calls to this machine through the user's HTTP proxy.
    direct = " --noproxy '*'" if has_proxy else ""
    prefix = "" if url == "http://127.0.0.1:8000" else f"TICKERTAPE_URL={url} "
    return f"""\
Page     {url}/
Submit   id=$(curl -s{direct}{key} {url}/chat -H 'Content-Type: application/json' \
-d '{{"message": "Write a haiku"}}' | cut -d'"' -f4)
Follow   curl -N{direct}{key} {url}/chat/$id/stream
Or both  {prefix}tickertape chat 'Write a haiku'"""
