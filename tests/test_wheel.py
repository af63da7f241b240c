"""The wheel, installed in an empty environment beside a project with packages of the same names."""

import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.faults.ports import free_port
from tests.support.programs import START_S, Program, bare_environment
from tests.support.up import up as running_up
from tests.support.wait import wait_until_sync

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ["requirements.lock", "model.lock"]

ADA = {"Cookie": "user=ada"}
SERVERS = ["uvicorn", pytest.param("hypercorn", marks=pytest.mark.long), "granian"]
OF_SERVERS = ["granian", "hypercorn", "h2", "hpack", "hyperframe", "priority", "wsproto"]
# The example without its docstring.
MOUNTED = (ROOT / "examples" / "mounted.py").read_text("utf-8").split('"""\n')[1]
FUNCTION = """
import tickertape

@tickertape.function("own")
async def own(request):
    yield f"You said: {request.text}"
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd, check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the locked packages and the wheel, and no checkout."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    _run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    # Byte code is made at the first import, as in the Makefile.
    pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-deps",
           "--no-compile")  # fmt: skip
    servers = folder / "servers.lock"
    servers.write_text(_locked(*OF_SERVERS), encoding="utf-8")
    for lock in (*(ROOT / name for name in LOCKS), servers):
        _run(*pip, "--require-hashes", "-r", lock, cwd=folder)
    _run(*pip, wheel, cwd=folder)
    return folder / "venv" / "bin"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project, with packages whose names are those of our folders."""
    for name, text in {"api": MOUNTED, "worker": FUNCTION, "cli": "", "broker": ""}.items():
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text(text, encoding="utf-8")
    return tmp_path


def test_an_installed_wheel_runs_everything_and_answers(environment: Path, project: Path) -> None:
    with running_up(project, program=environment / "tickertape") as up:
        up.wait_until_printed("Ready")
        question = {"message": "Say hello.", "max_tokens": 4}
        request_id = httpx2.post(f"{up.url}/chat", json=question).json()["request_id"]
        streamed = httpx2.get(f"{up.url}/chat/{request_id}/stream", timeout=60)
        assert "event: completed" in streamed.text
        for name in ("libraries.js", "swagger-ui-bundle.js", "LICENSES.txt"):
            assert httpx2.get(f"{up.url}/assets/{name}").status_code == 200


@pytest.mark.parametrize("server", SERVERS)
def test_an_application_called_api_mounts_the_api_and_asks_a_function_in_a_package_called_worker(
    server: str, environment: Path, project: Path, redis_url: str
) -> None:
    port = free_port()
    bind = f"--bind=127.0.0.1:{port}" if server == "hypercorn" else f"--port={port}"
    interface = ["--interface=asgi"] if server == "granian" else []
    settings = {**bare_environment(), "REDIS_URL": redis_url}
    command: list[str | Path] = [environment / "python", "-m", server, "api:app", bind, *interface]
    host = Program(server, command, project, settings)
    worker = Program("worker", [environment / "tickertape", "worker", "worker"], project, settings)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}/llm", timeout=30) as client:
            wait_until_sync(
                lambda: "own" in _models(client), timeout_s=START_S, description="the function"
            )
            question = {"model": "own", "message": "hi"}
            asked = client.post("/chat", json=question, headers=ADA)
            assert asked.status_code == 202, asked.text
            path = f"/chat/{asked.json()['request_id']}"
            assert '"You said: hi"' in client.get(f"{path}/stream", headers=ADA).text
            assert client.get(path, headers={"Cookie": "user=bob"}).status_code == 404
            stranger = client.get(path)
            assert (stranger.status_code, stranger.json()) == (401, {"detail": "Sign in first."})
    finally:
        worker.stop()
        host.stop()


def test_an_application_needs_less_than_15_lines_for_its_mount_with_its_auth() -> None:
    assert len([line for line in MOUNTED.splitlines() if line]) < 15


def _models(client: httpx2.Client) -> set[str]:
    try:
        answer = client.get("/v1/models", headers=ADA)
    except httpx2.TransportError:
        return set()
    return {model["id"] for model in answer.json()["data"]} if answer.status_code == 200 else set()


def _locked(*names: str) -> str:
    """The lines of these packages in the lock of the tests."""
    blocks = re.split(r"\n(?=\S)", (ROOT / "requirements-test.lock").read_text("utf-8"))
    return "\n".join(block for block in blocks if block.partition("==")[0] in names)
