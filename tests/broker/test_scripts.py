"""Scripts as Redis gets them, and the headers that are the signatures of their calls."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest

from tests.chaos.unsafe_worker import without_fence
from tests.support.rig import open_rig
from tickertape.broker.errors import Unavailable
from tickertape.broker.kinds import VERDICTS
from tickertape.broker.lua import NAMES, Scripts, header, source
from tickertape.broker.script_header import parse_header

# The appender packs the arguments of this script itself; another test compares their order.
BY_APPENDER = "append"
_FILES = ("rights", "prefix", "kept", "rates", "lifecycle", "turns", "erasure", "minute")


def text_of(name: str) -> str:
    return (files("tickertape.broker") / "scripts" / f"{name}.lua").read_text("utf-8")


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """Each call of a script in the product, with the name of the script."""
    return [*_calls()]


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for path in chain(Path("broker").rglob("*.py"), Path("cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                first = node.args[0] if node.args else None
                is_script = node.func.attr in {"call", "verdict"}
                if is_script and isinstance(first, ast.Constant) and first.value in NAMES:
                    yield str(first.value), node


def test_every_script_file_is_loaded() -> None:
    names = {path.name.removesuffix(".lua") for path in (files("broker") / "scripts").iterdir()}
    assert {name for name in names if not name.startswith("_")} == {*NAMES, *_FILES}


@pytest.mark.parametrize("name", NAMES)
def test_scripts_that_end_requests_or_begin_a_process_run_without_memory_and_no_others_do(
    name: str,
) -> None:
    takes_memory = name in {
        "submit", "seat", "claim", "claim_title", "append", "look", "reopen", "position", "lines",
        "add_key", "chain", "rows", "try_writes", "mark",
        "enter_upstream", "watch", "states",
    }  # fmt: skip
    assert source(name).startswith("#!lua flags=allow-oom\n") != takes_memory
    # A claim may free memory before it takes some, so it is refused at its start.
    is_refused_at_start = name == "claim"
    assert source(name).startswith("#!lua\n") == is_refused_at_start
    assert source(name).count("#!") == (1 if is_refused_at_start or not takes_memory else 0)


@pytest.mark.parametrize("name", NAMES)
def test_the_hot_path_carries_no_prefix(name: str) -> None:
    is_bare = name in {
        "append",
        "seat",
        "unseat",
        "settle",
        "count_seats",
        "look",
        "lines",
        "rows",
        "states",
        "account",
        "probe",
        "may_rewrite",
        "uncompacted",
        "enter_upstream",
        "leave_upstream",
    }
    assert ("local function read_request(" in source(name)) != is_bare


@pytest.mark.parametrize("name", NAMES)
def test_every_call_of_a_script_names_the_arguments_of_its_header(name: str) -> None:
    signature, of_script = header(name), [call for called, call in calls() if called == name]
    assert bool(of_script) == (name != BY_APPENDER)
    for call in of_script:
        assert {keyword.arg for keyword in call.keywords} == set(signature.arguments)
        assert any(isinstance(arg, ast.Starred) for arg in call.args) == signature.takes_values
        keys = call.args[1]
        assert isinstance(keys, ast.List)
        assert len(keys.elts) == len(signature.keys)


def test_the_appender_sends_the_arguments_of_its_script_in_their_order() -> None:
    sent = (Path("broker") / "appender.py").read_text("utf-8")
    each = "arguments += (to.attempt, call.first_seq, to.channel, len(values), *values)"
    assert "keys += (to.request_key, to.log_key)" in sent
    assert each in sent
    assert "len(keys), *keys, MAX_ENTRIES, self._max_bytes, *arguments" in sent
    assert header("append").keys == ("request", "log")
    assert header("append").arguments == ("max_entries", "max_output_bytes")
    assert "values, for each request: attempt, first_seq, channel, count" in text_of("append")


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if name not in {"append", "look", "probe", "may_rewrite", "states"}],
)
def test_a_script_reads_its_arguments_in_the_order_of_its_header(name: str) -> None:
    signature = header(name)
    count = f", 1, {len(signature.arguments)}" if signature.takes_values else ""
    read = re.search(rf"^local ([^=]+) = unpack\(ARGV{count}\)$", text_of(name), re.MULTILINE)
    assert read is not None
    names = [text.strip() for text in read[1].split(",")]
    # Two scripts need a name of their own beside another one that is nearly the same.
    renamed = {"ending_attempt": "attempt", "own_tenant": "tenant"}
    assert tuple(renamed.get(text, text) for text in names) == signature.arguments


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in NAMES
        if name not in {"look", "position", "lines", "rows", "probe", "uncompacted"}
    ],
)
def test_a_script_returns_the_verdicts_of_its_header(name: str) -> None:
    body = text_of(name).partition("\nlocal ")[2]
    returned = re.findall(r"return (?:\{ )?(?:is_same and )?'([A-Z_]+)'(?: or '([A-Z_]+)')?", body)
    assert {word for words in returned for word in words if word} == set(header(name).verdicts)
    assert header(name).verdicts <= VERDICTS


def test_every_verdict_is_one_of_some_script() -> None:
    assert frozenset().union(*(header(name).verdicts for name in NAMES)) == VERDICTS


@pytest.mark.parametrize("name", ["append", "renew", "finish"])
def test_the_control_of_the_chaos_run_finds_the_fence(name: str) -> None:
    assert without_fence(name, source(name)) != source(name)


def test_a_call_with_a_missing_or_unknown_name_is_refused() -> None:
    signature = header("finish")
    named = dict.fromkeys(signature.arguments, 1)
    assert signature.order(["k"], named, [b"a", b"b"])[-2:] == [b"a", b"b"]
    del named["usage"]
    with pytest.raises(TypeError, match=r"missing \['usage'\], unknown \[\]"):
        signature.order(["k"], named)
    with pytest.raises(TypeError, match=r"missing \['usage'\], unknown \['tokens'\]"):
        signature.order(["k"], named | {"tokens": 1})
    with pytest.raises(TypeError, match="not 2 keys"):
        signature.order(["k", "l"], named)
    with pytest.raises(TypeError, match=r"unknown \['values'\]"):
        header("account").order(["k"], {"attempt": 1, "usage": ""}, [b"a"])


@pytest.mark.parametrize("arguments", ["1 a  3 b", "2 a", "1.. values  2 a", "1.. a", "1 values"])
def test_a_header_with_wrong_numbers_is_refused(arguments: str) -> None:
    with pytest.raises(ValueError, match=r"up from 1|any number"):
        parse_header(f"-- Do it.\n-- ARGV  {arguments}\nreturn 1\n")


async def test_a_call_that_is_not_answered_is_unavailable() -> None:
    async with open_rig("redis://127.0.0.1:1") as broker:
        with pytest.raises(Unavailable):
            await Scripts(broker.connections.commands).verdict(
                "account", ["k"], attempt=1, usage="{}"
            )


async def test_an_error_inside_a_script_is_raised_as_it_is(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        await broker.connections.ask("SET", "k", "no hash")
        with pytest.raises(Exception, match="WRONGTYPE"):
            await Scripts(broker.connections.commands).verdict(
                "account", ["k"], attempt=1, usage="{}"
            )
