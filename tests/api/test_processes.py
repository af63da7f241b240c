"""Several processes: replaced when killed, ended together, and none is left behind."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api import processes
from api.processes import run_processes
from tests.support.children import give_up, serve, serve_stubbornly
from tests.support.wait import wait_until_sync


def children(directory: Path) -> set[int]:
    return {int(path.name) for path in directory.iterdir()}


def run_until_told(
    target: Callable[..., int], directory: Path, meanwhile: Callable[[], None], count: int = 1
) -> int:
    """Run `target` in processes, and end them as an operator does when `meanwhile` is done."""

    def watch() -> None:
        try:
            meanwhile()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        code = run_processes(count, target, (str(directory),))
        watching.result()
    return code


def are_over(pids: set[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_signal_ends_all_processes_and_is_no_failure(tmp_path: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    def wait_for_both() -> None:
        wait_until_sync(lambda: len(children(tmp_path)) == 2, description="both serve")

    assert run_until_told(serve, tmp_path, wait_for_both, count=2) == 0
    assert are_over(children(tmp_path))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_process_that_is_killed_is_replaced_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_RESTART_PAUSE_S", 0.01)

    def kill_the_first() -> None:
        wait_until_sync(lambda: children(tmp_path), description="the first serves")
        os.kill(children(tmp_path).pop(), signal.SIGKILL)
        wait_until_sync(lambda: len(children(tmp_path)) == 2, description="it is replaced")

    with capture_logs() as logged:
        assert run_until_told(serve, tmp_path, kill_the_first) == 0
    (killed,) = [line for line in logged if line["event"] == "process was killed"]
    assert killed["pid"] in children(tmp_path)
    assert killed["signal"] == signal.SIGKILL


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_that_ends_by_itself_ends_all_with_its_code(code: int) -> None:
    assert run_processes(2, give_up, (code,)) == code
    assert multiprocessing.active_children() == []


def test_a_process_that_does_not_heed_the_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_END_WITHIN_S", 0.01)
    starting = processes._Processes(serve_stubbornly, (str(tmp_path),))
    starting._start()
    wait_until_sync(lambda: children(tmp_path), description="it serves")
    starting._end()
    assert are_over(children(tmp_path))


def test_a_process_started_after_the_signal_came_is_ended_too(tmp_path: Path) -> None:
    starting = processes._Processes(serve, (str(tmp_path),))
    starting._on_signal(signal.SIGTERM, None)
    starting._start()
    assert starting._mind() == 0
    assert multiprocessing.active_children() == []


def test_a_process_ends_when_its_parent_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        def join(self) -> None:
            """It has ended."""

    monkeypatch.setattr(multiprocessing, "parent_process", Ended)
    heard: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        processes._end_with_parent()
        wait_until_sync(lambda: heard, description="the signal comes")
    finally:
        signal.signal(signal.SIGTERM, former)
    assert heard == [signal.SIGTERM]
