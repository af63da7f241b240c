"""`tickertape worker MODULE --reload` in a folder whose files change."""

import signal
from pathlib import Path

import pytest

from tests.support.programs import Program, command, environment
from tests.support.rig import Rig, open_rig
from tests.support.wait import wait_until
from tickertape.cli.exits import CommandFailed
from tickertape.cli.reload import stamp_of
from tickertape.cli.serve import run_worker_reloading

MODULE = """
import asyncio
import tickertape

@tickertape.function("said")
async def said(request):
    yield "WORD"
    if request.text == "wait":
        await asyncio.Event().wait()
"""


def test_files_of_environments_and_hidden_folders_are_not_looked_at(tmp_path: Path) -> None:
    for name in ("agent.py", "pkg/tools.py", ".git/a.py", "__pycache__/b.py", "venv/lib/c.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    (tmp_path / "notes.txt").write_text("")
    seen = stamp_of(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in seen] == ["agent.py", "pkg/tools.py"]
    (tmp_path / "agent.py").write_text("1")
    assert stamp_of(tmp_path) != seen


@pytest.mark.parametrize(("processes", "module"), [(2, "agent"), (1, None)])
def test_a_reload_without_a_module_or_with_several_processes_is_refused(
    processes: int, module: str | None
) -> None:
    with pytest.raises(CommandFailed, match="--reload runs one process with functions of yours"):
        run_worker_reloading(4, processes, module)


async def text_of(rig: Rig, request_id: str) -> str:
    return "".join((await rig.ended(request_id, timeout_s=60)).text)


@pytest.mark.slow
async def test_a_saved_file_answers_the_next_request_and_no_accepted_one_is_lost(
    redis_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "agent.py"
    path.write_text(MODULE.replace("WORD", "one"))
    env = environment(REDIS_URL=redis_url, PYTHONDONTWRITEBYTECODE="1", TICKERTAPE_DRAIN_S="0.1")
    worker = Program("worker", command("worker", "agent", "--reload"), tmp_path, env)
    try:
        async with open_rig(redis_url) as rig:
            await worker.logged("working", upstream=False)
            options = {"params": {"model": "said"}, "pool": "said"}
            assert await text_of(rig, await rig.ask("hi", **options)) == "one"
            cut = await rig.ask("wait", **options)
            await rig.shows(cut, "one")
            path.write_text("x = = 1")
            await wait_until(
                lambda: "it starts after the next change" in worker.printed,
                timeout_s=60,
                description="the broken module is reported",
            )
            waiting = await rig.ask("hi", **options)
            path.write_text(MODULE.replace("WORD", "two").replace('"wait"', '"never"'))
            assert await text_of(rig, waiting) == "two"
            assert await text_of(rig, cut) == "two"
        worker.signal(signal.SIGINT)
        assert await worker.ended() == 0
    finally:
        worker.stop()
    assert "SyntaxError" in worker.printed
