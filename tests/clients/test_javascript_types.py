"""The types of the JavaScript client, as TypeScript's strict compiler reads them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.test_javascript_documents import blocks
from tests.support.node import installed, nodes
from tests.support.packages import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PROGRAMS = Path(__file__).parent / "types"
_CLIENT = ROOT / "client" / "javascript"
_STRICT = (
    "--strict", "--noEmit", "--noUncheckedIndexedAccess", "--skipLibCheck", "false",
    "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--module", "nodenext",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the client and TypeScript."""
    tools = installed(tmp_path_factory.mktemp("tools"), "own_page")
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(_CLIENT, project / "node_modules" / "tickertape-client")
    (project / "node_modules" / ".bin").symlink_to(tools / "node_modules" / ".bin")
    (project / "package.json").write_text('{"type": "module"}', "utf-8")
    for program in PROGRAMS.glob("*.ts"):
        shutil.copy(program, project)
    return project


def _compile(folder: Path, *files: str, options: tuple[str, ...] = _STRICT) -> str:
    tsc = folder / "node_modules" / ".bin" / "tsc"
    done = subprocess.run(
        [tsc, *options, *files], cwd=folder, check=False, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_a_strict_program_that_uses_every_export_compiles(folder: Path) -> None:
    exports = _evaluate(folder, "Object.keys(await import('tickertape-client'))")
    text = (folder / "right.ts").read_text("utf-8")
    assert [name for name in exports if f"{name}" not in text] == []
    assert _compile(folder, "right.ts") == ""


def test_the_program_of_the_document_compiles(folder: Path) -> None:
    (program,) = blocks("ts")
    (folder / "document.ts").write_text(program, "utf-8")
    assert _compile(folder, "document.ts") == ""


def test_what_the_client_would_not_understand_does_not_compile(folder: Path) -> None:
    assert _compile(folder, "wrong.ts") == ""


def test_a_bundlers_resolution_of_modules_finds_the_types(folder: Path) -> None:
    options = (*_STRICT[:-1], "esnext", "--moduleResolution", "bundler")
    assert _compile(folder, "right.ts", options=options) == ""


def test_a_state_has_the_fields_and_events_the_kinds_that_their_types_name(folder: Path) -> None:
    states = _evaluate(
        folder,
        "await import('tickertape-client/fold.js').then(({ newRequest, newConversation, KINDS }) =>"
        "[Object.keys(newRequest('r')), Object.keys(newConversation('c')), KINDS])",
    )
    types = ("keyof RequestState", "keyof ConversationState", "EventKind")
    lines = [
        "import type { ConversationState, EventKind, RequestState } from 'tickertape-client'",
    ]
    for number, (names, expected) in enumerate(zip(states, types, strict=True)):
        fields = json.dumps(dict.fromkeys(names, 1))
        lines.append(f"export const fields{number}: Record<{expected}, 1> = {fields}")
    (folder / "fields.ts").write_text("\n".join(lines), "utf-8")
    assert _compile(folder, "fields.ts") == ""


def _evaluate(folder: Path, expression: str) -> list[str]:
    code = f"console.log(JSON.stringify({expression}))"
    done = subprocess.run(
        [nodes()[0], "--input-type=module", "-e", code],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout)
    return found
