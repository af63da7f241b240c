"""Several API processes: a killed one is replaced, all end together, and none is left over."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.children import (
    give_up,
    serve,
    serve_and_drain,
    serve_stubbornly,
    serve_with_signs,
)
from tests.support.wait import wait_until_sync
from tickertape.runtime import processes
from tickertape.runtime.processes import ProcessTiming, run_processes
from tickertape.runtime.siblings import Siblings

TIMING = ProcessTiming()


def children(directory: Path) -> set[int]:
    return {int(path.name) for path in directory.iterdir()}


def run_until_told(
    target: Callable[..., int],
    directory: Path,
    meanwhile: Callable[[], None],
    *,
    count: int = 1,
    timing: ProcessTiming = TIMING,
    siblings: Siblings | None = None,
) -> int:
    """Run `target` in processes, and signal them as an operator does once `meanwhile` returns."""

    def watch() -> None:
        try:
            meanwhile()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        arguments = (str(directory), *([siblings] if siblings else []))
        code = run_processes(count, target, arguments, timing, siblings)
        watching.result()
    return code


def are_over(pids: set[int]) -> bool:
    return not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    """A zombie counts as ended, because a dead parent cannot reap it."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_signal_ends_all_processes_with_exit_code_0(tmp_path: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    def wait_for_both() -> None:
        wait_until_sync(lambda: len(children(tmp_path)) == 2, description="both serve")

    assert run_until_told(serve, tmp_path, wait_for_both, count=2) == 0
    assert are_over(children(tmp_path))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_process_that_is_killed_is_replaced_and_reported(
    tmp_path: Path,
) -> None:
    timing = ProcessTiming(restart_pause_s=0.01)

    def kill_the_first() -> None:
        wait_until_sync(lambda: children(tmp_path), description="the first serves")
        os.kill(children(tmp_path).pop(), signal.SIGKILL)
        wait_until_sync(lambda: len(children(tmp_path)) == 2, description="it is replaced")

    with capture_logs() as logged:
        assert run_until_told(serve, tmp_path, kill_the_first, timing=timing) == 0
    (killed,) = [line for line in logged if line["event"] == "process was killed"]
    assert killed["pid"] in children(tmp_path)
    assert killed["signal"] == signal.SIGKILL


@pytest.mark.parametrize(
    ("target", "event"),
    [(serve, "process was killed"), (serve_and_drain, "process ended")],
    ids=["dies", "drains"],
)
def test_a_process_that_gets_a_stop_signal_alone_ends_alone_and_is_replaced(
    tmp_path: Path, target: Callable[..., int], event: str
) -> None:
    timing = ProcessTiming(restart_pause_s=0.01)

    def end_one() -> None:
        wait_until_sync(lambda: len(children(tmp_path)) == 2, description="both serve")
        ended, kept = children(tmp_path)
        os.kill(ended, signal.SIGTERM)
        wait_until_sync(lambda: len(children(tmp_path)) == 3, description="it is replaced")
        assert not are_over({kept})

    with capture_logs() as logged:
        assert run_until_told(target, tmp_path, end_one, count=2, timing=timing) == 0
    (ended,) = [line for line in logged if line["event"] == event]
    assert ended["pid"] in children(tmp_path)


def test_a_process_that_hangs_is_killed_and_replaced_and_its_sibling_is_not(
    tmp_path: Path,
) -> None:
    timing = ProcessTiming(restart_pause_s=0.01, poll_s=0.05, hung_after_s=1.0)
    siblings = Siblings(2)
    pids: list[int] = []

    def stop_one() -> None:
        wait_until_sync(lambda: len(children(tmp_path)) == 2, description="both serve")
        pids.extend(children(tmp_path))
        os.kill(pids[0], signal.SIGSTOP)
        wait_until_sync(lambda: len(children(tmp_path)) == 3, description="it is replaced")
        assert not are_over({pids[1]})

    with capture_logs() as logged:
        code = run_until_told(
            serve_with_signs, tmp_path, stop_one, count=2, timing=timing, siblings=siblings
        )
    assert code == 0
    assert are_over({pids[0]})
    assert [line["pid"] for line in logged if line["event"] == "process hangs"] == [pids[0]]


def test_a_process_that_exits_because_of_a_fault_ends_all_with_its_exit_code() -> None:
    assert run_processes(2, give_up, (3,)) == 3
    assert multiprocessing.active_children() == []


def test_a_process_that_ignores_the_signal_is_killed_and_reported(
    tmp_path: Path,
) -> None:
    timing = ProcessTiming(end_within_s=0.1, poll_s=0.01)

    def wait_for_it() -> None:
        wait_until_sync(lambda: children(tmp_path), description="it serves")

    with capture_logs() as logged:
        assert run_until_told(serve_stubbornly, tmp_path, wait_for_it, timing=timing) == 0
    (pid,) = children(tmp_path)
    assert are_over({pid})
    assert [line["pid"] for line in logged if line["event"] == "process did not end"] == [pid]


def test_a_process_that_starts_after_the_signal_is_ended(tmp_path: Path) -> None:
    starting = processes._Processes(serve, (str(tmp_path),))
    starting._on_signal(signal.SIGTERM, None)
    starting._start()
    assert starting._supervise() == 0
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("target", "timing"),
    [(serve, TIMING), (serve_stubbornly, ProcessTiming(end_within_s=0.01))],
    ids=["heeds signals", "hangs"],
)
def test_processes_end_when_their_parent_is_killed(
    tmp_path: Path, target: Callable[..., int], timing: ProcessTiming
) -> None:
    parent = multiprocessing.get_context("spawn").Process(
        target=run_processes, args=(2, target, (str(tmp_path),), timing)
    )
    parent.start()
    try:
        wait_until_sync(lambda: len(children(tmp_path)) == 2, description="both serve")
    finally:
        parent.kill()
        parent.join()
    wait_until_sync(lambda: are_over(children(tmp_path)), description="both end")
