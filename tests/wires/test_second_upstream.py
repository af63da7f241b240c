"""An upstream dies at token 20 of 50 while clients of every wire read: another one's text, whole.

Each token names the call that spoke it, so that a text of two answers shows.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.prompted import Plan, PlanFollower
from tests.support.running_api import running_api
from tests.support.upstreams import two_upstreams
from tests.support.wire_calls import (
    ERROR,
    Ask,
    Asked,
    agui,
    ai_sdk,
    ai_sdk_7,
    background,
    background_stream,
    chat,
    chat_stream,
    conversation,
    many_streams,
    native,
    raw_text,
    response,
    response_stream,
    resuming_agui,
    resuming_native,
)
from tests.wires.conftest import openai_client

CUT = Plan(deltas=50, tag="word", marks_calls=True, cut_after=20)
WHOLE = "".join(CUT.pieces(2))
CONTINUED = "".join([*CUT.pieces(1)[:20], *CUT.pieces(2)[20:]])
# What is heard where no upstream can go on from a partial answer, and where the second one can.
TABLE: dict[Ask, tuple[str, str]] = {
    native: (WHOLE, WHOLE),
    chat_stream: (ERROR, CONTINUED),
    resuming_native: (WHOLE, WHOLE),
    conversation: (WHOLE, WHOLE),
    many_streams: (WHOLE, WHOLE),
    raw_text: (ERROR, CONTINUED),
    chat: (WHOLE, WHOLE),
    response: (WHOLE, WHOLE),
    response_stream: (ERROR, CONTINUED),
    background: (WHOLE, WHOLE),
    background_stream: (ERROR, CONTINUED),
    ai_sdk: (ERROR, CONTINUED),
    ai_sdk_7: (WHOLE, WHOLE),
    agui: (WHOLE, WHOLE),
    resuming_agui: (WHOLE, WHOLE),
}
QUICK = (native, chat_stream)


async def heard(
    asks: Sequence[Ask], redis_url: str, folder: Path, *, can_continue: bool
) -> dict[str, str]:
    """What a client of each wire shows, by the names of the wires."""
    owner = "llamacpp" if can_continue else "scripted"
    async with (
        # So many clients in one event loop may delay a renewal.
        two_upstreams(redis_url, folder, owner=owner, slots=len(asks), lease_s=20) as system,
        running_api(redis_url, openai_model="m") as api,
        openai_client(api.url) as sdk,
    ):
        system.a.script = system.b.script = PlanFollower(CUT).script_for
        asked = [ask(Asked(ask.__name__, api.client, sdk)) for ask in asks]
        texts = await asyncio.gather(*asked)
        continued = len([text for text in texts if text != ERROR])
        assert system.calls == (len(asks), continued)
    return {ask.__name__: text for ask, text in zip(asks, texts, strict=True)}


def expected(asks: Sequence[Ask], *, can_continue: bool) -> dict[str, str]:
    return {ask.__name__: TABLE[ask][can_continue] for ask in asks}


async def test_an_upstream_that_dies_in_mid_answer_leaves_no_text_of_two_answers(
    redis_url: str, tmp_path: Path
) -> None:
    found = await heard(QUICK, redis_url, tmp_path, can_continue=False)
    assert found == expected(QUICK, can_continue=False)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("can_continue", [False, True])
async def test_what_is_heard_on_every_wire_of_an_answer_whose_upstream_died(
    redis_url: str, tmp_path: Path, *, can_continue: bool
) -> None:
    found = await heard([*TABLE], redis_url, tmp_path, can_continue=can_continue)
    assert found == expected([*TABLE], can_continue=can_continue)
