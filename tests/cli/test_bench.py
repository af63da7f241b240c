"""`tickertape bench` sees what is wrong with answers, and asks and pays for nothing else."""

import asyncio
import hashlib
import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.cli.scripted_api import Frame, Lose, ScriptedApi
from tests.faults.ports import free_port
from tests.support.deployment import Deployment
from tests.support.running_api import RunningApi
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.cli import commands
from tickertape.cli.arguments import parse
from tickertape.cli.bench.findings import DELAY, FIRST, SKEW, SPACING, Stream, faults_of, find
from tickertape.cli.bench.load import Load, run
from tickertape.cli.bench.paced import MODEL, Pace, numbers, sent_s, token
from tickertape.cli.bench.paced_upstream import listen
from tickertape.cli.bench.report import lines
from tickertape.cli.bench.tape import Tape
from tickertape.cli.chat.server_errors import refusal
from tickertape.cli.exits import CommandFailed
from tickertape.client import AsyncClient, CallRefused, Event, Timing

PACE = Pace(tokens=4, rate_per_s=100)
DELTAS = [
    Event("delta", {"text": token(number, 1.0 + number / 100)}, f"1-{number}")
    for number in range(PACE.tokens)
]
IMPATIENT = Timing(first_patience_s=0.05, call_patience_s=0.05, longest_wait_s=0.01)


def text_of(deltas: list[Event]) -> str:
    return "".join(each.text for each in deltas)


def end_of(deltas: list[Event]) -> Event:
    sha256 = hashlib.sha256(text_of(deltas).encode()).hexdigest()
    return Event("completed", {"finish_reason": "stop", "sha256": sha256}, "1-9")


def tape_of(*readers: list[Event], end: Event | None = None) -> Tape:
    """What readers received who got these deltas, a ms after they were sent, and one end."""
    tape = Tape()
    for deltas in readers:
        reading = tape.read()
        for each in deltas:
            reading.receive(each, sent_s(each.text)[0] + 0.001)
        reading.receive(end or end_of(DELTAS), 2.0)
    return tape


def faults(tape: Tape) -> Counter[str]:
    return Counter(faults_of(tape, PACE))


def test_readers_with_one_and_the_same_answer_have_no_fault() -> None:
    assert not faults(tape_of(DELTAS, DELTAS, DELTAS))


def test_a_reader_that_lacks_a_delta_is_found() -> None:
    lacking = [DELTAS[0], *DELTAS[2:]]
    found = faults(tape_of(DELTAS, lacking, DELTAS))
    assert found == {"gap": 2, "difference": 1, "damaged": 1}


def test_a_delta_that_all_readers_lack_is_found() -> None:
    lacking = [DELTAS[0], *DELTAS[2:]]
    assert faults(tape_of(lacking, lacking)) == {"gap": 2, "damaged": 2}
    # Also if the server believes that the answer is whole.
    assert faults(tape_of(lacking, lacking, end=end_of(lacking))) == {"gap": 2}


def test_a_delta_that_comes_twice_or_too_late_is_found() -> None:
    twice = [DELTAS[0], *DELTAS]
    assert faults(tape_of(DELTAS, twice))["order"] >= 1
    swapped = [DELTAS[0], DELTAS[2], DELTAS[1], DELTAS[3]]
    assert faults(tape_of(DELTAS, swapped))["order"] >= 1


def test_two_texts_behind_one_cursor_are_found() -> None:
    other = [*DELTAS[:3], DELTAS[3]._replace(data={"text": token(3, 5.0)})]
    assert faults(tape_of(DELTAS, other))["difference"] == 1


def test_an_answer_that_starts_over_has_only_its_last_attempt() -> None:
    started = Event("started", {"n": 2}, "1-5")
    tape = tape_of(DELTAS)
    again = tape.read()
    for each in [*DELTAS[:2], started, *DELTAS, end_of(DELTAS)]:
        again.receive(each, 3.0)
    assert again.restarts == 1
    assert numbers(again.text) == [0, 1, 2, 3]


def test_the_times_of_readers_are_those_of_their_deltas() -> None:
    tape = tape_of(DELTAS, DELTAS)
    # The second reader has each delta 2 ms later.
    tape.readings[1].arrived_s = type(tape.readings[1].arrived_s)(
        "d", [each + 0.002 for each in tape.readings[1].arrived_s]
    )
    found = find([Stream(submitted_s=0.9, tape=tape)], PACE)
    assert found.is_clean
    assert found.times[FIRST] == pytest.approx([101, 103])
    assert found.times[SPACING] == pytest.approx([10] * 6)
    assert found.times[SKEW] == pytest.approx([2] * 3)
    # The first token was sent before a reader had read anything.
    assert found.times[DELAY] == pytest.approx([1] * 3 + [3] * 3)
    assert any(line.startswith("No gap") for line in lines(found, wall_s=1, cpu_s=0.1))


async def test_requests_that_nobody_reads_to_their_end_are_cancelled(api: RunningApi) -> None:
    load = Load(streams=2, readers=2, message="hi", options={})
    async with AsyncClient(api.url) as client:

        async def states() -> list[str]:
            return [each.status for each in (await client.requests()).requests]

        async def are_queued() -> bool:
            return await states() == ["queued", "queued"]

        async def load_it() -> None:
            await run(load, partial(AsyncClient, api.url))

        async with running(load_it()):
            await wait_until(are_queued, description="both requests wait")
        assert await states() == ["cancelled", "cancelled"]


async def test_an_api_that_does_not_answer_is_one_error() -> None:
    load = Load(streams=2, readers=1, message="hi", options={})
    url = f"http://127.0.0.1:{free_port()}"
    found = find(await run(load, partial(AsyncClient, url, timing=IMPATIENT)), None)
    assert found.errors == {"submit: Connection refused": 2}
    assert not found.is_clean


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not-a-url", "URL is not a URL; use http://host:port"),
        ("http://127.0.0.1:{port}", "Connection refused.*named with URL or TICKERTAPE_URL"),
        ("http://127.0.0.1:{port} --message hi", "Connection refused.*named with URL"),
        (
            "http://127.0.0.1:{port} --json /no/such/folder/found.json",
            "--json: the folder /no/such/folder does not exist",
        ),
        ("http://127.0.0.1:{port} --streams 99999999", "lower --streams or --readers"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_started(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = parse(["bench", *line.format(port=free_port()).split()])
    with pytest.raises(CommandFailed, match=words):
        commands.bench(options)
    assert capsys.readouterr().err == ""


def test_a_wrong_key_is_named_with_its_option() -> None:
    refused = CallRefused(401, "401 This API key is unknown.", None)
    assert refusal(refused).startswith("401 This API key is unknown. A key is given with --key")


async def test_the_paced_upstream_answers_only_this_command() -> None:
    server = await listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server, httpx2.AsyncClient(base_url=url) as client:
        assert (await client.get("/models")).json()["data"][0]["id"] == MODEL

        async def ask(path: str, message: str) -> httpx2.Response:
            body = {"messages": [{"role": "user", "content": message}]}
            return await client.post(path, json=body)

        for message in ("Hello", "paced 3 0.000", ""):
            assert (await ask("/chat/completions", message)).status_code == 400
        assert (await ask("/embeddings", PACE.prompt)).status_code == 404
        answer = await ask("/chat/completions", PACE.prompt)
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert lines.pop() == "[DONE]"
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines]
    assert numbers("".join(each.get("content", "") for each in deltas)) == [0, 1, 2, 3]


def test_the_paced_upstream_has_an_address_of_this_machine_unless_another_one_is_named() -> None:
    assert parse(["bench"]).upstream == ("127.0.0.1", 9101)
    assert parse(["bench", "--upstream", "9200"]).upstream == ("127.0.0.1", 9200)
    assert parse(["bench", "--upstream", "[::1]:9200"]).upstream == ("::1", 9200)


async def bench(*arguments: str) -> tuple[int, str]:
    """The exit code and the output of the command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tickertape.cli.main", "bench", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.slow
async def test_a_deployment_whose_workers_use_the_paced_upstream_is_measured(
    deployment: Deployment, tmp_path: Path
) -> None:
    port = free_port()
    deployment.settings.update(
        OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1", OPENAI_API_KEY="bench", OPENAI_MODEL=MODEL
    )
    deployment.start("worker", "worker")
    _, url = await deployment.running_api()
    code, output = await bench(
        url, "--streams=4", "--readers=3", "--rate=50", "--seconds=1",
        f"--upstream={port}", f"--json={tmp_path / 'found.json'}",
    )  # fmt: skip
    assert code == 0, output
    assert f"OPENAI_BASE_URL=http://127.0.0.1:{port}/v1" in output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["completed"], found["deltas"]) == (12, 12 * 50)
    assert found["ms"]["upstream_to_reader"]["count"] > 0


@pytest.mark.slow
async def test_the_command_fails_if_a_reader_lacks_a_delta() -> None:
    frames = [Frame(each.kind, each.data, each.cursor) for each in [*DELTAS, end_of(DELTAS)]]
    async with ScriptedApi(frames).running() as api:
        arguments = (api.url, "--streams=1", "--readers=3", "--message=hi")
        code, output = await bench(*arguments)
        assert (code, "No gap" in output) == (0, True), output
        api.behaviours.append(Lose("1-2"))
        code, output = await bench(*arguments)
    assert code == 1
    assert "FAULT  1 x gap" in output
