"""The scripted upstream as a separate process: each prompt contains the plan of its answer.

For end-to-end tests and benchmarks with real workers. Prints its base URL as its first line; its
journal is at /journal on the same server (GET, DELETE).
"""

import argparse
import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator

import msgspec
import uvloop

from tests.support.script import (
    Cut,
    Done,
    Finish,
    JsonObject,
    Pause,
    Reset,
    Role,
    Script,
    Status,
    Step,
    Text,
    Usage,
    error_body,
    rate_limited,
)
from tests.support.upstream import Call, ScriptedUpstream

_SILENCE = Pause(86_400)


class Plan(msgspec.Struct, frozen=True):
    """What a prompt asks for: a JSON object with some of these names as the last user message.

    The answer to a plan is always `text()`, so whole, retried and continued answers can be compared
    with it. With `stamp` each delta is instead the machine's monotonic time, in seconds, at which
    it was sent. With `marks_calls` each names the call that spoke it, counted from 1 for a prompt.
    `cut_after` and `reset_after` break off after that many deltas, `stall_after` falls silent and
    `status` refuses, in the words of `refusal` if it has any, for the first `fail_times` calls with
    this prompt. Rate 0 is the fastest.
    """

    deltas: int = 20
    rate_per_s: float = 0
    tag: str = "delta"
    first_delay_s: float = 0
    stamp: bool = False
    marks_calls: bool = False
    cut_after: int | None = None
    reset_after: int | None = None
    stall_after: int | None = None
    status: int | None = None
    refusal: str | None = None
    fail_times: int = 1

    def pieces(self, call: int = 1) -> list[str]:
        """The deltas, in order, of the `call`-th call."""
        speaker = f"{self.tag}.{call}." if self.marks_calls else f"{self.tag}-"
        return [f"{speaker}{n} " for n in range(self.deltas)]

    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces())

    def prompt(self) -> str:
        """The message that asks for this plan."""
        return msgspec.json.encode(self).decode()


class PlanFollower:
    """Plays to each call the plan in its prompt; `default` has the values that a prompt omits.

    `calls_by_prompt` counts the calls.
    """

    def __init__(self, default: Plan) -> None:
        self._default = msgspec.to_builtins(default)
        self.calls_by_prompt: Counter[str] = Counter()

    def script_for(self, call: Call) -> Script:
        prompt = _last(call.body, "user")
        self.calls_by_prompt[prompt] += 1
        try:
            asked = msgspec.json.decode(prompt, type=JsonObject)
        except msgspec.DecodeError:
            asked = {}  # any other prompt gets the default answer
        plan = msgspec.convert({**self._default, **asked}, Plan)
        number = self.calls_by_prompt[prompt]
        fails = number <= plan.fail_times
        if fails and plan.status is not None:
            if plan.refusal is not None:
                return [Status(plan.status, body=error_body(plan.refusal, "refused"))]
            return rate_limited() if plan.status == 429 else [Status(plan.status)]
        return _steps(plan, _pieces_left(plan, call.body, number), fails=fails)


def _steps(plan: Plan, pieces: list[str], *, fails: bool) -> Iterator[Step]:
    yield Role()
    yield Pause(plan.first_delay_s)
    breaks: dict[int | None, Step] = {
        plan.cut_after: Cut(),
        plan.reset_after: Reset(),
        plan.stall_after: _SILENCE,
    }
    started_s = time.monotonic()
    for n, piece in enumerate(pieces):
        if fails and n in breaks:
            yield breaks[n]
        if plan.rate_per_s:
            # Relative to the start, so that a late wake-up does not delay all later deltas.
            yield Pause(max(0, started_s + n / plan.rate_per_s - time.monotonic()))
        else:
            yield Pause(0)
        yield Text(f"{time.monotonic():.6f} " if plan.stamp else piece)
    yield Finish()
    yield Usage(prompt_tokens=1, completion_tokens=len(pieces))
    yield Done()


def _pieces_left(plan: Plan, body: JsonObject, call: int) -> list[str]:
    """The deltas that follow the prefilled beginning of the answer, if the request has one."""
    messages = body["messages"]
    prefill = messages[-1]["content"] if messages[-1].get("role") == "assistant" else ""
    pieces = plan.pieces(call)
    if plan.marks_calls:
        # The text of another call has the same number of pieces, but other words.
        return pieces[prefill.count(" ") :]
    if not plan.text().startswith(prefill):
        return pieces
    skipped = 0
    while pieces and skipped + len(pieces[0]) <= len(prefill):
        skipped += len(pieces.pop(0))
    return [pieces[0][len(prefill) - skipped :], *pieces[1:]] if pieces else []


def _last(body: JsonObject, role: str) -> str:
    contents = [m.get("content") for m in body["messages"] if m.get("role") == role]
    return contents[-1] if contents and isinstance(contents[-1], str) else ""


async def _run(port: int, api_key: str | None, owner: str, default: Plan) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with ScriptedUpstream(port=port, api_key=api_key) as upstream:
        upstream.script = PlanFollower(default).script_for
        upstream.owner = owner
        print(upstream.base_url, flush=True)
        await stopped.wait()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    default = Plan()
    parser = argparse.ArgumentParser(description=Plan.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--api-key")
    parser.add_argument("--owner", default="scripted", help="whose software it claims to be")
    parser.add_argument("--rate", type=float, default=default.rate_per_s, help="deltas per second")
    parser.add_argument("--deltas", type=int, default=default.deltas)
    given = parser.parse_args()
    plan = Plan(rate_per_s=given.rate, deltas=given.deltas)
    uvloop.run(_run(given.port, given.api_key, given.owner, plan))
