"""`tickertape bench`: load on a deployment, gaps checked, percentiles, plot."""

import asyncio
import contextlib
import importlib.util
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tickertape.cli.bench import report
from tickertape.cli.bench.findings import Findings, Stream, find
from tickertape.cli.bench.load import Load
from tickertape.cli.bench.load import run as run_load
from tickertape.cli.bench.paced import MAX_TOKENS, MODEL, Pace
from tickertape.cli.chat.client_settings import Server, make_client
from tickertape.cli.chat.server_errors import as_command_failed
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.program import program_name
from tickertape.cli.serve import module_argv, module_environment, new_event_loop
from tickertape.cli.up.spawn import spawn, stop
from tickertape.client import ApiUnreachable, AsyncClient
from tickertape.client.submission import SubmitOptions

_UPSTREAM = "tickertape.cli.bench.paced_upstream"
_LOOK_S = 0.5


@dataclass(frozen=True)
class Options:
    """The options of `tickertape bench`. Without a `message`, the paced upstream answers."""

    server: Server
    streams: int
    readers: int
    rate_per_s: float
    seconds: float
    upstream: tuple[str, int]
    message: str | None
    model: str | None
    json_file: Path | None
    plot_file: Path | None


@dataclass(frozen=True)
class _Run:
    findings: Findings
    wall_s: float
    cpu_s: float


def run(options: Options) -> int:
    """Run the load and print the findings; 1 if a reader did not get a whole, right answer.

    Raises CommandFailed and SettingsInvalid.
    """
    if options.plot_file is not None and importlib.util.find_spec("matplotlib") is None:
        raise CommandFailed("--plot needs matplotlib: pip install matplotlib", Exit.USAGE)
    _check_files(options)
    client_maker = partial(make_client, options.server)
    pace = None
    if options.message is None:
        tokens = max(1, round(options.rate_per_s * options.seconds))
        if tokens > MAX_TOKENS:
            raise CommandFailed(f"an answer of {tokens:,} tokens: lower --seconds", Exit.USAGE)
        pace = Pace(tokens, options.rate_per_s)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        # Before the load, whose every call would fail for the same reason.
        runner.run(_check_api(client_maker, options.server.url_option))
        with _upstream(options) if pace else contextlib.nullcontext():
            done = runner.run(_measured(options, pace, client_maker))
    print("\n".join(report.lines(done.findings, done.wall_s, done.cpu_s)))
    _write(options, done)
    return Exit.OK if done.findings.is_clean else Exit.FAILED


async def _measured(
    options: Options, pace: Pace | None, client_maker: Callable[[], AsyncClient]
) -> _Run:
    async with client_maker() as client:
        if pace is not None:
            with as_command_failed(client, options.server.url_option):
                await _wait_for_worker(client)
        _say(f"{options.streams} requests to {client.display_url}, {options.readers} readers each")
    submit: SubmitOptions = {}
    if model := MODEL if pace else options.model:
        submit["model"] = model
    load = Load(
        options.streams, options.readers, pace.prompt if pace else options.message or "", submit
    )
    begun_s, cpu_s = time.monotonic(), time.process_time()
    streams: list[Stream] = await run_load(load, client_maker)
    wall_s, used_s = time.monotonic() - begun_s, time.process_time() - cpu_s
    return _Run(find(streams, pace), wall_s, used_s)


async def _check_api(client_maker: Callable[[], AsyncClient], url_option: str) -> None:
    """Raise CommandFailed for an API that does not answer, or that refuses the key."""
    async with client_maker() as client:
        with as_command_failed(client, url_option):
            await _has_worker(client)


async def _wait_for_worker(client: AsyncClient) -> None:
    while not await _has_worker(client):  # noqa: ASYNC110  # another process has what is waited for
        await asyncio.sleep(_LOOK_S)


async def _has_worker(client: AsyncClient) -> bool:
    try:
        return MODEL in await client.models()
    except ApiUnreachable as error:
        # Such an API knows no models yet.
        if error.has_response:
            return False
        raise


@contextlib.contextmanager
def _upstream(options: Options) -> Iterator[None]:
    """Run the paced upstream within the block, and say how a worker reaches it."""
    host, port = options.upstream
    argv = module_argv(_UPSTREAM, host, str(port))
    process = spawn(
        argv, env=module_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        try:
            bound = (process.stdout or io.BytesIO()).readline().decode().strip()
            if not bound:
                raise CommandFailed(f"cannot listen on {host}:{port}; choose another --upstream")
            url = f"http://{f'[{host}]' if ':' in host else host}:{bound}/v1"
            _say(
                f"A paced upstream answers at {url}. Point the workers of your deployment at it:\n"
                f"  OPENAI_BASE_URL={url} OPENAI_API_KEY=bench OPENAI_MODEL={MODEL}"
                f" {program_name()} worker --slots {options.streams}\n"
                f"Waiting until the API lists the model {MODEL}. Ctrl+C ends this."
            )
            yield
        finally:
            stop(process)


def _write(options: Options, done: _Run) -> None:
    try:
        if options.json_file is not None:
            found = report.as_json(done.findings, done.wall_s, done.cpu_s)
            options.json_file.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        if options.plot_file is not None:
            from tickertape.cli.bench.plot import draw

            draw(done.findings, options.plot_file)
    except (OSError, ValueError) as error:
        raise CommandFailed(f"cannot write the file: {error}") from None


def _check_files(options: Options) -> None:
    """Raise CommandFailed if the findings or the readers cannot have their files.

    Each reader is an open file, of which the usual soft limit allows 1024.
    """
    for name, file in (("--json", options.json_file), ("--plot", options.plot_file)):
        if file is not None and not file.parent.is_dir():
            raise CommandFailed(f"{name}: the folder {file.parent} does not exist", Exit.USAGE)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    readers = options.streams * options.readers
    if hard != resource.RLIM_INFINITY and readers > hard:
        raise CommandFailed(
            f"{readers:,} readers need as many open files, and this account may have {hard:,}: "
            "lower --streams or --readers, or raise `ulimit -n`",
            Exit.USAGE,
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
