"""A writer that ignores the fence adds an entry to the log of a running request."""

import asyncio

from tests.support.keyspace import KEYS
from tests.support.rig import open_rig, working
from tests.support.script import Role, Script, Text, Wait, answer
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings


async def test_an_answer_with_foreign_entries_starts_over_and_is_complete(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    torn: Script = [Role(), Text("a"), Wait(gate), Text("b"), Wait(asyncio.Event())]
    upstream.enqueue(torn, answer("whole"))
    settings = Settings.model_validate(
        {"openai_base_url": upstream.base_url, "openai_model": "m", "lease_s": 10}
    )
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
        request_id = await rig.ask()
        await rig.shows(request_id, "a")
        attempt = (await rig.record(request_id)).attempt
        await rig.connections.ask("XADD", KEYS.log(request_id), f"{attempt}-50", "e", "dz")
        gate.set()
        answered = await rig.ended(request_id, timeout_s=5)
        entries = await rig.entries(request_id)
    assert (answered.status, "".join(answered.text)) == ("completed", "whole")
    assert "z" not in [entry.text for entry in entries]
