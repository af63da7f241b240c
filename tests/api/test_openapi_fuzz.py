"""The real app answers as its OpenAPI document says, whatever Schemathesis sends it."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings

KEY = "key-of-ada-0123456789abcdef"
# Fuzzing goes on until this time is over; the 600 calls of the phases before it take half of it.
FUZZING_S = 30
LIMIT_S = 120
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)


async def fuzzed(url: str, folder: Path, *options: str) -> tuple[int | None, str]:
    """The exit code and the report of Schemathesis, which calls the API at `url`."""
    running = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        f"{url}/openapi.json",
        f"--header=Authorization: Bearer {KEY}",
        f"--checks={','.join(CHECKS)}",
        "--phases=examples,coverage,fuzzing",
        "--max-examples=4",
        f"--max-time={FUZZING_S}",
        "--request-timeout=10",
        "--seed=1",
        "--no-shrink",
        "--continue-on-failure",
        "--warnings=off",
        # A stream that stays open has no response to check.
        "--exclude-path-regex=stream",
        *options,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            output, _ = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    return running.returncode, output.decode(errors="replace")


@pytest.mark.slow
async def test_every_answer_to_generated_calls_is_in_the_openapi_document(
    redis_url: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m"}
    settings = Settings.model_validate(fields)
    async with (
        running_api(redis_url, api_keys=f"ada:{KEY}", tenant_limit=10_000) as api,
        working(redis_url, settings),
    ):
        code, report = await fuzzed(api.url, tmp_path)
    assert code == 0, re.sub(KEY, "[key]", report)
