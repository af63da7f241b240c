"""The log lines of API and workers, which never contain the text of an error."""

import json
import re
import subprocess
import sys

from tickertape.cli.serve import module_environment

PROGRAM = """
import logging
import structlog
from tickertape.runtime import logs

logs.configure()
structlog.get_logger().info("begun", slots=4)
structlog.get_logger().debug("chatter")
logging.getLogger("library").info("chatter")
logging.getLogger("library").warning("%s is late", "it")
try:
    raise ValueError("a prompt with sk-secret")
except ValueError:
    structlog.get_logger().exception("failed")
    logging.getLogger("library").exception("failed too")
"""


RECORDING = """
import json, logging, sys
import structlog
from tickertape.runtime import logs

writes = []

class Recorder:
    def write(self, text):
        writes.append(text)
    def flush(self):
        pass
    def isatty(self):
        return False

terminal, sys.stderr = sys.stderr, Recorder()
logs.configure()
structlog.get_logger().info("begun", slots=4)
logging.getLogger("library").warning("late")
sys.stderr = terminal
print(json.dumps(writes), file=sys.stderr)
"""


ODD_VALUES = """
import structlog
from tickertape.runtime import logs

logs.configure()
log = structlog.get_logger()
log.info("Grüße \\0 '", path=logs, big=10**30, nested={"none": [None, True, 1.5]})
"""


CRASHING = """
import asyncio, gc, logging, os, threading
from tickertape.runtime import logs

def fail(text):
    raise ValueError("a prompt with sk-secret")

async def fail_later(text):
    fail(text)

async def main():
    task = asyncio.create_task(fail_later("sk-secret"))
    await asyncio.sleep(0)
    del task
    asyncio.get_running_loop().call_soon(fail, "sk-secret")
    await asyncio.sleep(0)

class Unclean:
    def __del__(self):
        fail("sk-secret")

logs.configure()
asyncio.run(main())
gc.collect()
Unclean()
thread = threading.Thread(target=fail, args=["sk-secret"])
thread.start()
thread.join()
library = logging.getLogger("openai._base_client")
library.setLevel(logging.DEBUG)  # as OPENAI_LOG=debug does
library.debug("Request options: sk-secret")
fail("sk-secret")
"""


def lines_of(source: str, *, exit_code: int = 0) -> list[str]:
    program = subprocess.run(
        [sys.executable, "-c", source],
        env=module_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert program.returncode == exit_code, program.stderr
    assert program.stdout == ""
    return program.stderr.splitlines()


def written(source: str = PROGRAM, *, exit_code: int = 0) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines_of(source, exit_code=exit_code)]


def test_records_are_json_of_one_shape_from_info_on_and_from_warnings_on_for_libraries() -> None:
    begun, late, *failures = written()
    assert (begun["event"], begun["level"], begun["slots"]) == ("begun", "info", 4)
    assert (late["event"], late["level"]) == ("it is late", "warning")
    assert [failure["event"] for failure in failures] == ["failed", "failed too"]
    assert all("timestamp" in record for record in (begun, late, *failures))


def test_a_line_has_the_bytes_of_json_dumps_whatever_its_values_are() -> None:
    (line,) = lines_of(ODD_VALUES)
    record = json.loads(line)
    assert line == json.dumps(record)
    assert record["event"] == "Grüße \0 '"
    assert record["path"].startswith("<module 'tickertape.runtime.logs'")
    assert record["big"] == 10**30
    assert record["nested"] == {"none": [None, True, 1.5]}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", record["timestamp"])


def test_an_error_is_logged_with_its_type_and_place_and_never_its_text() -> None:
    *_, ours, theirs = written()
    for record in (ours, theirs):
        assert record["error"] == "ValueError"
        assert record["at"] == ["<string>:12 <module>"]
        assert "sk-secret" not in json.dumps(record)


def test_no_crash_of_a_task_a_callback_a_thread_or_the_program_quotes_its_error() -> None:
    records = written(CRASHING, exit_code=1)
    assert len(records) == 5, records
    assert all((each["level"], each["error"]) == ("error", "ValueError") for each in records)
    assert all("fail" in str(each["at"]) for each in records)
    assert "sk-secret" not in json.dumps(records)


def test_a_line_is_one_write_so_that_lines_of_several_processes_do_not_mix() -> None:
    (writes,) = written(RECORDING)
    assert [text[-1] for text in writes] == ["\n", "\n"]
