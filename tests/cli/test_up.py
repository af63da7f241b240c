"""`up` with real processes: they start, answer, restart, and end together."""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import command
from tests.support.prompted import Plan
from tests.support.up import START_S, Up, up
from tests.support.wait import wait_until_sync

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc"),
]


@contextlib.contextmanager
def _upstream(port: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A scripted upstream in a process of its own; its first line was read."""
    argv = [sys.executable, "-m", "tests.support.upstream", f"--port={port}", *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.terminate()


@pytest.fixture(scope="module")
def upstream_url() -> Iterator[str]:
    """A scripted upstream in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.upstream"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def running(tmp_path: Path, upstream_url: str) -> Iterator[Up]:
    """`up` with two workers and an API of two processes, ready."""
    with up(
        tmp_path,
        "--workers=2",
        "--api-processes=2",
        OPENAI_BASE_URL=upstream_url,
        OPENAI_MODEL="scripted-model",
    ) as started:
        started.wait_until_printed("Ready after")
        yield started


def test_it_answers_and_ctrl_c_leaves_nothing_behind(running: Up) -> None:
    plan = Plan(deltas=30, rate_per_s=100)
    chat = running.chat(plan.prompt())
    assert (chat.finish(), chat.stderr) == (plan.text(), "")
    assert len(running.descendants()) == 6
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(START_S) == 0
    assert running.descendants() == {}
    assert "Stopping" in running.printed
    assert "Traceback" not in running.printed


def test_the_example_of_a_function_answers_beside_the_upstream(
    tmp_path: Path, upstream_url: str
) -> None:
    shutil.copy(Path(__file__).parents[2] / "examples" / "agent.py", tmp_path)
    with up(
        tmp_path, "--functions=agent", OPENAI_BASE_URL=upstream_url, OPENAI_MODEL="m"
    ) as running:
        running.wait_until_printed("Ready after")
        call = f"{shlex.join(command('chat'))} --url {running.url}"
        asked = running.shell(f"{call} -m support-agent 'Where are orders 17 and 99?'")
        assert asked.stdout == "Order 17 is on its way. Order 99 is unknown. ", asked.stderr
        plan = Plan(deltas=3, rate_per_s=100)
        assert running.chat(plan.prompt()).finish() == plan.text()


def test_functions_alone_answer_without_a_model(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[2] / "examples" / "agent.py", tmp_path)
    with up(tmp_path, "--functions=agent", PYTHONPATH=str(tmp_path)) as running:
        running.wait_until_printed("Ready after")
        assert "Model    none, because your functions answer." in running.printed
        asked = running.shell(running.printed_command("Or both"))
        assert asked.stdout == "Which order do you mean?", (running.printed, asked.stderr)
        call = f"{shlex.join(command('chat'))} --url {running.url}"
        unnamed = running.shell(f"{call} 'Where is order 17?'")
        assert unnamed.stdout == "Order 17 is on its way. ", unnamed.stderr


def test_answers_reach_the_history_although_deliver_is_killed(
    tmp_path: Path, upstream_url: str
) -> None:
    database = tmp_path / "history.db"

    def answers() -> list[str] | None:
        with (
            contextlib.suppress(sqlite3.OperationalError),  # no table yet
            contextlib.closing(sqlite3.connect(database)) as connection,
        ):
            rows = connection.execute("SELECT answered FROM tickertape_requests ORDER BY ended_ms")
            return [answered for (answered,) in rows]
        return None

    plan = Plan(deltas=3, rate_per_s=100)
    with up(
        tmp_path,
        OPENAI_BASE_URL=upstream_url,
        OPENAI_MODEL="m",
        TICKERTAPE_HISTORY_URL=f"sqlite:///{database}",
    ) as running:
        running.wait_until_printed("Ready after")
        wait_until_sync(lambda: answers() == [], description="deliver has begun")
        os.kill(running.pid_of(" deliver"), signal.SIGKILL)
        for _ in range(2):
            assert running.chat(plan.prompt()).finish() == plan.text()
        wait_until_sync(
            lambda: answers() == [plan.text()] * 2,
            timeout_s=START_S,
            description="a new process has handed on",
        )


def test_a_module_without_functions_ends_up_and_the_reason_is_printed(
    tmp_path: Path, upstream_url: str
) -> None:
    with up(tmp_path, "--functions=agnet", OPENAI_BASE_URL=upstream_url) as running:
        assert running.process.wait(START_S) == 2
    assert "worker-1 cannot start" in running.printed
    assert "there is no module agnet: run this command in the folder that has it" in running.printed


def test_calls_to_this_machine_ignore_http_proxies(tmp_path: Path, upstream_url: str) -> None:
    """NemoClaw#2616; the commands that it prints are for curl, which would ask them."""
    names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")
    proxies = dict.fromkeys(names, "http://127.0.0.1:9")
    settings = {"OPENAI_BASE_URL": upstream_url, "OPENAI_MODEL": "scripted-model"}
    with up(tmp_path, **settings, program=None, **proxies) as started:
        started.wait_until_printed("Ready after")
        plan = Plan(deltas=5, rate_per_s=100)
        chat = started.chat(plan.prompt())
        assert (chat.finish(), chat.stderr) == (plan.text(), "")
        followed = started.shell(
            f"{started.printed_command('Submit')}\n{started.printed_command('Follow')}"
        )
        assert "event: completed" in followed.stdout, followed.stderr


def test_the_lines_that_it_prints_work_as_they_are(running: Up) -> None:
    script = f"{running.printed_command('Submit')}\n{running.printed_command('Follow')}"
    followed = running.shell(script)
    assert followed.returncode == 0, followed.stderr
    assert "event: completed" in followed.stdout
    assert Plan().pieces()[-1] in followed.stdout
    both = running.shell(running.printed_command("Or both"))
    assert (both.returncode, both.stdout, both.stderr) == (0, Plan().text(), "")


def test_the_printed_lines_of_an_upstream_without_a_default_model_work_with_keys(
    tmp_path: Path, upstream_url: str
) -> None:
    env = {
        "TICKERTAPE_API_KEYS": "ada:a-key-of-ada-0123",
        "TICKERTAPE_API_KEY": "a-key-of-ada-0123",
    }
    with up(tmp_path, OPENAI_BASE_URL=upstream_url, program=None, **env) as started:
        started.wait_until_printed("Ready after")
        assert "OPENAI_MODEL is not set" in started.printed
        script = f"{started.printed_command('Submit')}\n{started.printed_command('Follow')}"
        assert "event: completed" in started.shell(script).stdout
        assert started.shell(started.printed_command("Or both")).stdout == Plan().text()


def test_up_is_ready_when_its_upstream_answers_and_says_before_what_is_missing(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    with up(tmp_path, OPENAI_BASE_URL=url, OPENAI_MODEL="m") as started:
        started.wait_until_printed(f"Not ready: The upstream at {url} cannot be reached.")
        with _upstream(port, "--api-key=right"):
            started.wait_until_printed(f"Not ready: The upstream at {url} needs a key (401).")
            assert "Ready after" not in started.printed
        with _upstream(port):
            started.wait_until_printed("OPENAI_MODEL is m, which the upstream does not list.")
            started.wait_until_printed("Ready after")
        assert started.printed.count("Not ready:") == 2


def test_a_wrong_path_of_the_upstream_is_named(tmp_path: Path, upstream_url: str) -> None:
    wrong = upstream_url.replace("/v1", "/api/wrong")
    with up(tmp_path, OPENAI_BASE_URL=wrong, OPENAI_MODEL="m") as started:
        started.wait_until_printed("Not ready: ")
        assert f"The upstream at {wrong} does not know this path (404)." in started.printed
        assert "OPENAI_BASE_URL" in started.printed


def test_a_request_can_be_watched_during_and_after_its_answer(running: Up) -> None:
    watch = f"TICKERTAPE_URL={running.url} {sys.executable} -m tickertape.cli.main watch $id"
    script = f"{running.printed_command('Submit')}; {watch}; echo; {watch} --buffer; echo; echo $id"
    answer = running.shell(script)
    *watched, request_id = answer.stdout.splitlines()
    assert watched == [Plan().text()] * 2, answer.stderr
    ended = running.shell(f"id={request_id}; {watch} --after 1-1")
    assert ended.returncode == 3
    assert "was restarted" in ended.stderr


def test_up_ends_in_order_while_an_answer_is_generated(running: Up) -> None:
    plan = Plan(deltas=30, rate_per_s=20)
    chat = running.chat(plan.prompt())
    chat.wait_until_begun()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(START_S) == 0
    assert running.descendants() == {}
    chat.leave()


def test_killing_up_ends_every_process(running: Up) -> None:
    assert len(running.descendants()) == 6
    running.process.kill()
    running.process.wait()
    running.wait_until_nothing_is_left()


def test_killing_up_during_an_answer_ends_every_process(running: Up) -> None:
    chat = running.chat(Plan(deltas=2000, rate_per_s=20).prompt())
    chat.wait_until_begun()
    running.process.kill()
    running.process.wait()
    running.wait_until_nothing_is_left()
    chat.leave()


def test_a_killed_api_is_restarted_and_the_answer_continues(running: Up) -> None:
    plan = Plan(deltas=60, rate_per_s=20)
    chat = running.chat(plan.prompt())
    chat.wait_until_begun()
    os.kill(running.pid_of("tickertape.cli.main api"), signal.SIGKILL)
    assert chat.finish() == plan.text()
    assert "api ended (killed by SIGKILL); starting it again in" in running.printed


def test_a_redis_that_is_killed_comes_back_and_the_next_answer_is_whole(running: Up) -> None:
    os.kill(running.pid_of("valkey-server"), signal.SIGKILL)
    running.wait_until_printed("redis runs again")
    plan = Plan(deltas=5)
    assert running.chat(plan.prompt()).finish() == plan.text()


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with up(tmp_path, f"--port={port}") as refused:
            assert refused.process.wait(START_S) == 2
    assert f"port {port}: Address already in use" in refused.printed
    assert "Choose another port: --port " in refused.printed
    assert len(refused.printed.splitlines()) == 1


def test_a_data_directory_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with up(tmp_path, f"--data-dir={tmp_path / 'data'}") as refused:
        assert refused.process.wait(START_S) == 2
    assert "--data-dir" in refused.printed
    assert len(refused.printed.splitlines()) == 1


def test_an_open_address_without_keys_is_reported_and_no_process_is_left(
    tmp_path: Path, upstream_url: str
) -> None:
    with up(tmp_path, "--host=0.0.0.0", OPENAI_BASE_URL=upstream_url) as refused:
        assert refused.process.wait(START_S) == 2
        assert refused.descendants() == {}
    assert "TICKERTAPE_API_KEYS" in refused.printed
    assert "Traceback" not in refused.printed


def test_the_model_alone_serves_other_machines_too(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tickertape.cli.main", "model", "--host=0.0.0.0", "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip().rpartition(":")[2]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            assert answer.status == 200
        process.terminate()


def test_without_any_setting_the_local_model_answers(tmp_path: Path) -> None:
    with up(tmp_path) as running:
        running.wait_until_printed("Ready after")
        assert running.chat("Say hello.").finish().strip()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(START_S) == 0
        wait_until_sync(
            lambda: not running.descendants(), timeout_s=5, description="no process is left"
        )
