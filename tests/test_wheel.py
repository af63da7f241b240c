"""The wheel, installed in an empty environment beside a project with packages of the same names."""

import shutil
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
    for lock in LOCKS:
        _run(*pip, "--require-hashes", "-r", ROOT / lock, cwd=folder)
    _run(*pip, wheel, cwd=folder)
    return folder / "venv" / "bin"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project, with packages whose names are those of our folders."""
    for name in ("api", "worker", "cli"):
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text("OWNER = 'the project'\n", encoding="utf-8")
    return tmp_path


def test_a_projects_own_api_and_worker_are_imported_beside_ours(
    environment: Path, project: Path
) -> None:
    code = (
        "import api, worker, cli, tickertape.api.app, tickertape.worker.main\n"
        "print(api.OWNER, worker.OWNER, cli.OWNER, tickertape.__file__)\n"
    )
    printed = _run(environment / "python", "-c", code, cwd=project)
    assert printed.startswith("the project the project the project ")
    assert str(environment.parent) in printed


def test_an_installed_wheel_runs_everything_and_answers(environment: Path, project: Path) -> None:
    with running_up(project, program=environment / "tickertape") as up:
        up.wait_until_printed("Ready")
        question = {"message": "Say hello.", "max_tokens": 4}
        request_id = httpx2.post(f"{up.url}/chat", json=question).json()["request_id"]
        streamed = httpx2.get(f"{up.url}/chat/{request_id}/stream", timeout=60)
        assert "event: completed" in streamed.text
        for name in ("libraries.js", "swagger-ui-bundle.js", "LICENSES.txt"):
            assert httpx2.get(f"{up.url}/assets/{name}").status_code == 200


def test_an_application_with_packages_of_these_names_mounts_the_api(
    environment: Path, project: Path, redis_url: str
) -> None:
    shutil.copy(ROOT / "examples" / "mounted.py", project)
    port = free_port()
    argv: list[str | Path] = [
        environment / "python",
        "-m",
        "uvicorn",
        "mounted:app",
        f"--port={port}",
    ]
    host = Program("host", argv, project, {**bare_environment(), "REDIS_URL": redis_url})
    url = f"http://127.0.0.1:{port}/llm"

    def is_up() -> bool:
        try:
            return httpx2.get(f"{url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    try:
        wait_until_sync(is_up, timeout_s=START_S, description="the host is ready")
        answer = httpx2.post(f"{url}/chat", json={"message": "hi"}, cookies={"user": "ada"})
        assert answer.status_code == 202
    finally:
        host.stop()
