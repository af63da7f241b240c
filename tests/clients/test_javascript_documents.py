"""The programs in docs/javascript-client.md do what the document says."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.page.site import running_site
from tests.support.client_programs import run_client_program
from tests.support.node import nodes
from tests.support.packages import ROOT
from tests.support.script import answer
from tests.support.upstream import ScriptedUpstream

_DOCUMENT = ROOT / "docs" / "javascript-client.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PRINTED_URL = "http://127.0.0.1:8000"
# What a browser has, and what the lines before the block have set. The page is then left at once.
_PAGE = """
import { follow, submit } from 'tickertape-client'
const baseUrl = process.env.URL
const { request_id: requestId } = await submit({ message: 'Why is the sky blue?' }, { baseUrl })
const kept = new Map()
const localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: kept.set.bind(kept) }
let leave
const addEventListener = (kind, action) => { leave = action }
"""
_LEAVE = """
await follower.closed
leave()
console.log(kept.get(requestId))
"""


def blocks(language: str) -> list[str]:
    """The blocks of code in this language, in the order of the document."""
    found: list[tuple[str, str]] = _BLOCK.findall(_DOCUMENT.read_text("utf-8"))
    return [code for name, code in found if name == language]


@pytest.mark.slow
async def test_the_first_program_prints_the_answer_and_a_state_is_kept_for_later(
    redis_url: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    packages = tmp_path / "node_modules"
    shutil.copytree(ROOT / "client" / "javascript", packages / "tickertape-client")
    first, resuming, _ = blocks("js")
    async with running_site(redis_url, upstream) as site:
        site.answers["Why is the sky blue?"] = answer(["Because ", "of the air."])
        url = site.url.rstrip("/")
        assert _PRINTED_URL in first
        programs = [first.replace(_PRINTED_URL, url), f"{_PAGE}{resuming}{_LEAVE}"]
        printed = []
        for program in programs:
            (tmp_path / "program.mjs").write_text(program, "utf-8")
            output = await run_client_program(
                (nodes()[0], "program.mjs"), {**os.environ, "URL": url}, cwd=tmp_path, limit_s=20
            )
            printed.append(output.decode().strip())
    assert printed[0] == "Because of the air."
    assert json.loads(printed[1])["text"] == "Because of the air."


@pytest.mark.parametrize(
    ("block", "example"),
    [(blocks("jsx")[0], "react_answer.jsx"), (blocks("js")[2], "vue_answer.js")],
    ids=["React", "Vue"],
)
def test_the_document_shows_what_the_tested_example_does(block: str, example: str) -> None:
    statements = [_statement(line) for line in block.splitlines() if line]
    of_example = (ROOT / "examples" / example).read_text("utf-8").splitlines()
    known = {_statement(line) for line in of_example} | _without_names(of_example)
    assert [line for line in statements if line not in known] == []


def _statement(line: str) -> str:
    """A line without its comment and its semicolons, which the document leaves out."""
    return line.split(" // ", maxsplit=1)[0].replace(";", "").strip()


def _without_names(lines: list[str]) -> set[str]:
    """Imports with each leading name left out, because the example needs more names."""
    imports = [_statement(line) for line in lines if line.startswith("import {")]
    return {re.sub(r"\{ \w+, ", "{ ", line) for line in imports}
