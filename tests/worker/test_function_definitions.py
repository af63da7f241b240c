"""The decorator of functions, and how a worker finds functions in a module."""

import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import tickertape
from tickertape.broker.errors import SettingsInvalid
from tickertape.worker.functions.loading import load_functions


async def answer(request: tickertape.Request) -> AsyncIterator[str]:
    """Says it again."""
    yield request.text


async def test_a_function_is_called_in_a_test_as_the_generator_that_it_is() -> None:
    echo = tickertape.function("echo")(answer)
    request = tickertape.Request(messages=[{"role": "user", "content": "hi"}])
    assert [value async for value in echo(request)] == ["hi"]
    assert (echo.name, echo.__doc__, repr(echo)) == (
        "echo", "Says it again.", "<tickertape function 'echo'>"
    )  # fmt: skip


async def returns(_: tickertape.Request) -> str:
    return ""


def yields(_: tickertape.Request) -> Any:
    yield ""


async def needs_more(_: tickertape.Request, context: Any, more: Any) -> AsyncIterator[str]:
    yield str((context, more))


async def needs_a_name(_: tickertape.Request, *, context: Any) -> AsyncIterator[str]:
    yield str(context)


@pytest.mark.parametrize("body", [returns, yields])
def test_only_an_async_generator_can_be_a_function(body: Any) -> None:
    with pytest.raises(TypeError, match=rf"{body.__name__}\) is not an async generator: write"):
        tickertape.function("f")(body)


@pytest.mark.parametrize("body", [needs_more, needs_a_name])
def test_a_function_takes_a_request_and_a_context(body: Any) -> None:
    with pytest.raises(TypeError, match="must take a request, and may take a context"):
        tickertape.function("f")(body)


def test_a_decorator_without_a_name_says_how_to_write_it() -> None:
    with pytest.raises(TypeError, match=r'write @tickertape.function\("NAME"\)'):
        tickertape.function(answer)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("name", ["", "a b", "-a", "a~b", "a|b", "é", "a" * 65])
def test_a_name_that_no_request_can_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a function: use 1 to 64 letters"):
        tickertape.function(name)


MODULE = """
import tickertape

@tickertape.function("a")
async def first(request):
    yield "a"

@tickertape.function("b")
async def second(request):
    yield "b"

class App:
    pass

same = first
listed = [second]
app = App()
app.agent = first
empty = ()
"""


MANY = """
import tickertape

async def body(request):
    yield "a"

many = [tickertape.function(f"f{n}")(body) for n in range(65)]
globals().update({f"f{n}": each for n, each in enumerate(many)})
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Writes a module of a name of its own, and returns that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"module_{abs(hash(request.node.name))}"

    def write(text: str) -> str:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return name

    return write


@pytest.mark.parametrize(
    ("attribute", "names"),
    [
        ("", ["a", "b"]),
        (":first", ["a"]),
        (":listed", ["b"]),
        (":app", ["a"]),
        (":app.agent", ["a"]),
    ],
)
def test_functions_are_found_in_a_module_or_in_what_it_has(
    write: Any, attribute: str, names: list[str]
) -> None:
    assert [each.name for each in load_functions(write(MODULE) + attribute)] == names


@pytest.mark.parametrize(
    ("text", "attribute", "message"),
    [
        (MODULE, ":third", "NAME has no 'third': it has the functions first, second, same"),
        (MODULE, ":empty", "NAME:empty has no functions: decorate an async generator with"),
        (MODULE, ":", "NAME:: write package.module or package.module:attribute"),
        ("x = 1", "", "NAME has no functions: decorate an async generator with"),
        ("x = = 1", "", "NAME cannot be imported: SyntaxError: invalid syntax"),
        ("import no_such_thing", "", "NAME cannot be imported: ModuleNotFoundError: No module"),
        ("raise ValueError('sk-secret')", "", r"NAME cannot be imported: ValueError \(.*NAME.py:1"),
        ("raise SystemExit(1)", "", r"NAME cannot be imported: SystemExit \(.*NAME.py:1"),
        (MANY, "", "NAME has 65 functions, more than the 64 of a worker: name an attribute"),
        (MODULE.replace('"b"', '"a"', 1), "", "NAME has two functions named 'a': rename one"),
    ],
)
def test_a_module_that_cannot_serve_ends_the_start_and_says_why(
    write: Any, text: str, attribute: str, message: str
) -> None:
    name = write(text)
    with pytest.raises(SettingsInvalid, match=message.replace("NAME", name)) as refused:
        load_functions(name + attribute)
    assert "sk-secret" not in str(refused.value)


def test_a_module_that_does_not_exist_is_named_with_what_to_do(write: Any) -> None:
    write("")
    with pytest.raises(SettingsInvalid, match="there is no module my_agents: run this command in"):
        load_functions("my_agents.support")


def test_defining_a_function_loads_no_part_of_a_server() -> None:
    script = (
        "import tickertape, sys; tickertape.function, tickertape.Text, tickertape.Request;"
        "sys.exit(any(name in sys.modules for name in ('openai', 'redis', 'msgspec', 'structlog')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
