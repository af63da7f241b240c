"""The lines that `up` prints."""

import contextlib
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from tickertape.cli.chat.text import harmless
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


def model_line(settings: Settings, model: LocalModel | None, *, has_functions: bool = False) -> str:
    """Pure: which model is used; `model` is the local one, None with an upstream or functions."""
    if model is None and has_functions and not settings.has_upstream:
        return (
            "Model    none, because your functions answer. To have a model beside them, set\n"
            "         OPENAI_API_KEY, OPENAI_BASE_URL or TICKERTAPE_LOCAL_MODEL"
        )
    if model is None:
        named = settings.openai_model or "(named by each request)"
        if settings.upstreams is not None:
            return f"Model    {named} at the upstreams of {settings.upstreams}"
        upstream = hide_secrets(settings.openai_base_url or "https://api.openai.com/v1")
        profile = f", profile {settings.upstream_profile}" if settings.upstream_profile else ""
        return f"Model    {named} at {upstream}{profile}"
    line = f"Model    {model.model} on this machine, {model.slots} concurrent answers."
    if model.weights.is_built_in:
        return (
            f"{line} It is small and knows only English.\n         For a better model, set"
            " OPENAI_API_KEY, OPENAI_BASE_URL or TICKERTAPE_LOCAL_MODEL"
        )
    if settings.openai_api_key or settings.openai_base_url:
        line += " OPENAI_API_KEY and OPENAI_BASE_URL are not used."
    if not model.weights.has_chat_template:
        line += (
            "\n         The file has no chat template, so answers may make no sense. Choose an"
            " instruct model."
        )
    return line


def other_upstream_line(data_dir: Path, label: str) -> str:
    """Pure: why this upstream does not use the data of the upstream `label` in `data_dir`."""
    return (
        f"         {data_dir} itself belongs to {label}. Questions and answers of that upstream"
        " stay there."
    )


@dataclass(frozen=True)
class Usage:
    """What the commands that `up` prints depend on.

    `model` is a function, or is for an upstream without a default model. `has_url` and `has_key`:
    commands in this environment use the address of this API without further words, and have a key.
    """

    url: str
    program: str = "tickertape"
    needs_key: bool = False
    has_key: bool = True
    has_proxy: bool = False
    has_url: bool = True
    model: str | None = None


def how_to_use(usage: Usage) -> str:
    """Pure: shell commands that submit a message, follow it, and do both at once."""
    key = ' -H "Authorization: Bearer $TICKERTAPE_API_KEY"' if usage.needs_key else ""
    # Without this option, curl would send calls to this machine through the user's HTTP proxy.
    direct = " --noproxy '*'" if usage.has_proxy else ""
    # Some shells take the brackets of an IPv6 address for a pattern.
    url = shlex.quote(usage.url)
    prefix = "" if usage.has_url else f"TICKERTAPE_URL={url} "
    body = {"message": "Write a haiku"} | ({"model": usage.model} if usage.model else {})
    model = f" -m {shlex.quote(usage.model)}" if usage.model else ""
    call = f"{direct}{key} {url}/chat"
    submit = f"curl -s{call} -H 'Content-Type: application/json' -d"
    lines = [
        f"Page     {usage.url}/",
        f"Submit   id=$({submit} {shlex.quote(json.dumps(body))} | cut -d'\"' -f4)",
        f"Follow   curl -N{call}/$id/stream",
        f"Or both  {prefix}{usage.program} chat{model} 'Write a haiku'",
    ]
    if usage.needs_key and not usage.has_key:
        lines.insert(1, "Key      export TICKERTAPE_API_KEY=...  (one of TICKERTAPE_API_KEYS)")
    return "\n".join(lines)
