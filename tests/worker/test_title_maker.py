"""Titles of the model: an idle worker asks once, and users come first."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig, open_rig, working
from tests.support.script import Finish, Role, Script, Status, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.conversations import Conversations
from tickertape.broker.model_titles import ModelTitles
from tickertape.broker.submission import conversation_key
from tickertape.broker.summaries import Summary
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import WorkerTiming
from tickertape.worker.title_maker import TitleTiming

FAST = WorkerTiming(titles=TitleTiming(look_s=0.01))


def answer(text: str) -> Script:
    return [Role(), Text(text), Finish()]


@dataclass
class Titles:
    """A rig whose conversations have titles."""

    rig: Rig
    conversations: Conversations
    upstream: ScriptedUpstream
    settings: Settings

    async def ask(self, text: str = "Why?", conversation_id: str = "c") -> str:
        """Submit a question and wait for its answer."""
        request_id = await self.rig.ask(text, conversation_id=conversation_id)
        assert (await self.rig.ended(request_id)).status == "completed"
        return request_id

    async def summary(self, conversation_id: str = "c", tenant: str = TENANT) -> Summary:
        return (await self.conversations.outline(tenant, conversation_id)).summary

    async def shows(self, title: str) -> None:
        async def does() -> bool:
            return (await self.summary()).title == title

        await wait_until(does, description=f"the title {title!r}")

    async def calls(self, count: int) -> None:
        await wait_until(
            lambda: len(self.upstream.calls) == count, description=f"{count} calls of the upstream"
        )


@pytest.fixture
async def titles(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Titles]:
    settings = GivenSettings(
        openai_base_url=upstream.base_url, openai_model="m", titles="model", titles_model="small"
    )
    async with open_rig(redis_url, settings) as rig:
        yield Titles(rig, Conversations(rig.connections, settings), upstream, settings)


async def test_the_first_answer_brings_a_title_of_the_model(titles: Titles) -> None:
    titles.upstream.enqueue(answer("Because."))
    titles.upstream.enqueue(answer('"The *colour* of the sky."'))
    titles.upstream.enqueue(answer("Later."))
    titles.upstream.enqueue(answer("Last."))
    async with working(titles.rig.url, titles.settings, timing=FAST):
        await titles.ask("Why is the sky blue?")
        await titles.shows("The *colour* of the sky")
        await titles.ask("And the sea?")
        await titles.ask("And the moon?")
    assert len(titles.upstream.calls) == 4
    body = titles.upstream.calls[1].body
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("small", 0.2, 64)
    assert "Why is the sky blue?" in body["messages"][0]["content"]


async def test_the_first_words_stay_by_default(titles: Titles) -> None:
    titles.upstream.script = answer("Because.")
    settings = titles.settings.model_copy(update={"titles": "words"})
    async with working(titles.rig.url, settings, timing=FAST):
        await titles.ask("Why?")
        await titles.ask("Why not?")
    assert len(titles.upstream.calls) == 2
    assert (await titles.summary()).title == "Why?"


async def test_a_title_of_a_user_stays(titles: Titles) -> None:
    rest = asyncio.Event()
    titles.upstream.enqueue(answer("Because."))
    titles.upstream.enqueue([Role(), Text("Of the model"), Wait(rest), Finish()])
    async with working(titles.rig.url, titles.settings, timing=FAST):
        await titles.ask()
        await titles.calls(2)
        await titles.conversations.rename(TENANT, "c", "Mine")
        rest.set()
        titles.upstream.script = answer("Again.")
        await titles.ask("And now?")
    assert (await titles.summary()).title == "Mine"
    assert len(titles.upstream.calls) == 3


async def test_a_refused_title_is_one_line_of_the_log_without_the_prompt(titles: Titles) -> None:
    titles.upstream.enqueue(answer("Because."))
    titles.upstream.enqueue([Status(400, {}, {"error": {"message": "bad: Why secret?"}})])
    with structlog.testing.capture_logs() as logged:
        async with working(titles.rig.url, titles.settings, timing=FAST):
            await titles.ask("Why secret?")

            def lines() -> list[Any]:
                return [line for line in logged if line["event"] == "title not made"]

            await wait_until(lines, description="the line of the log")
            titles.upstream.script = answer("Again.")
            await titles.ask("And now?")
    assert len(lines()) == 1
    assert "secret" not in str(logged)
    assert (await titles.summary()).title == "Why secret?"
    assert len(titles.upstream.calls) == 3


async def test_a_title_gives_way_to_jobs_and_comes_after_them(titles: Titles) -> None:
    rest = asyncio.Event()
    titles.upstream.enqueue(answer("Because."))
    titles.upstream.enqueue([Role(), Text("never"), Wait(asyncio.Event())])
    titles.upstream.enqueue([Role(), Text("job"), Wait(rest), Finish()])
    titles.upstream.enqueue(answer("After the job"))
    async with working(titles.rig.url, titles.settings, slots=1, timing=FAST):
        await titles.ask()
        await titles.calls(2)
        job = await titles.rig.ask("Quick!")
        await titles.rig.shows(job, "job")
        await titles.upstream.calls[1].closed.wait()
        assert len(titles.upstream.calls) == 3
        rest.set()
        await titles.shows("After the job")


async def test_an_erased_question_does_not_come_back_as_a_title(titles: Titles) -> None:
    titles.upstream.script = answer("Because.")
    words = titles.settings.model_copy(update={"titles": "words"})
    async with working(titles.rig.url, words, timing=FAST):
        request_id = await titles.ask()
    given = ModelTitles(titles.rig.connections)
    claim = await given.claim(request_id, conversation_key(TENANT, "c"))
    assert claim is not None
    await titles.rig.requests.erase(request_id, TENANT)
    assert await given.read(claim) == ([], "")
    assert not await given.give(claim, "Why")


async def test_a_claim_is_given_once_and_ends_with_its_time_and_its_conversation(
    titles: Titles,
) -> None:
    titles.upstream.script = answer("Because.")
    words = titles.settings.model_copy(update={"titles": "words"})
    async with working(titles.rig.url, words, timing=FAST):
        request_id = await titles.ask()
    given, key = ModelTitles(titles.rig.connections), conversation_key(TENANT, "c")
    claim = await given.claim(request_id, key)
    assert claim is not None
    assert await given.claim(request_id, key) is None
    assert await given.claim(request_id, conversation_key("another", "c")) is None
    assert await given.give(claim, "Of the model")
    assert (await titles.summary()).title == "Of the model"
    await titles.conversations.rename(TENANT, "c", "Mine")
    assert not await given.give(claim, "Of the model")
    await titles.rig.connections.ask("HDEL", KEYS.conversation(0, key), "title_by")
    await titles.rig.connections.ask("HSET", KEYS.conversation(0, key), "title_until", 1)
    assert not await given.give(claim, "Late")
    await titles.conversations.forget(TENANT, "c")
    await titles.rig.submit(conversation_id="c")
    assert not await given.give(claim, "Of the conversation before")
