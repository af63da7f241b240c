"""Reads the table of upstreams, and asks each of them for its models."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import Finding, ok
from tickertape.cli.checks.of_upstream import model_finding
from tickertape.runtime.addresses import hide_secrets

if TYPE_CHECKING:
    from tickertape.worker.upstreams.reading import KeyedRow


def problems(path: Path) -> list[Finding]:
    """What is wrong in the file itself."""
    from tickertape.worker.upstreams.reading import read_table

    try:
        _ = read_table(path)
    except SettingsInvalid as invalid:
        return _of_file(invalid)
    return []


def _of_file(invalid: SettingsInvalid) -> list[Finding]:
    return [CASES["upstream-table"].found(problem=line) for line in str(invalid).splitlines()]


async def findings(path: Path, model: str | None, limit_s: float) -> list[Finding]:
    """What is wrong in the file, or with each upstream of the table."""
    from tickertape.worker.upstreams.reading import read_table

    try:
        rows = read_table(path)
    except SettingsInvalid as invalid:
        return _of_file(invalid)
    asked = await asyncio.gather(*(_ask(each, path, limit_s) for each in rows))
    offered = {name for _, names in asked for name in names}
    return [*(found for found, _ in asked), *([model_finding(model, offered)] if offered else [])]


async def _ask(keyed: "KeyedRow", path: Path, limit_s: float) -> tuple[Finding, list[str]]:
    """A finding about one upstream, and the models that requests may name there."""
    from tickertape.worker.upstream.client import Upstream
    from tickertape.worker.upstream.errors import NoModelList, UpstreamError

    row = keyed.row
    address, names = hide_secrets(row.base_url), list(row.names)
    client = Upstream(row.base_url, keyed.key, profile=row.profile, models_limit_s=limit_s)
    try:
        async with client:
            listed = [str(model["id"]) for model in await client.list_models()]
    except (UpstreamError, SettingsInvalid) as error:
        if not (isinstance(error, NoModelList) and names):
            facts = {"name": row.name, "address": address, "path": path}
            return CASES["upstream-row"].found(problem=str(error).rstrip("."), **facts), names
        listed = []
    text = f"{row.name} at {address} answers; its profile is {client.profile.name}"
    return ok("upstream-answers", text), names if row.models else [*listed, *names]
