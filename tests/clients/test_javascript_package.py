"""What the npm package of the JavaScript client says of itself, and what its types say of it."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tickertape.api.app import create_app
from tickertape.runtime.settings import Settings

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "client" / "javascript"
_MANIFEST = json.loads((FOLDER / "package.json").read_text("utf-8"))
# The modules that users of the package can import. The others serve these.
_MODULES = sorted(path.removesuffix(".js") for path in _MANIFEST["exports"].values())
_DECLARED = re.compile(
    r"^export (?:async )?(?:declare )?(?:const|let|function|class) (\w+)", re.MULTILINE
)
_LISTED = re.compile(r"^export \{([^}]*)\}", re.MULTILINE)
_INTERFACE = re.compile(r"^export interface (\w+)[^{]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (\w+)(\??):", re.MULTILINE)


def _exports(file: Path) -> set[str]:
    """The values that a module exports, or that a file of types says that its module exports."""
    text = file.read_text("utf-8")
    listed = [name.strip() for names in _LISTED.findall(text) for name in names.split(",")]
    return {*_DECLARED.findall(text), *filter(None, listed)}


def test_the_package_has_the_version_and_the_licence_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (_MANIFEST["version"], _MANIFEST["license"]) == (project["version"], project["license"])
    assert (FOLDER / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("module", _MODULES)
def test_each_export_of_a_module_has_a_type_and_each_type_its_export(module: str) -> None:
    exports = _exports(FOLDER / f"{module}.js")
    assert exports
    assert _exports(FOLDER / f"{module}.d.ts") == exports


def _fields_of_types() -> dict[str, dict[str, bool]]:
    text = (FOLDER / "bodies.d.ts").read_text("utf-8")
    return {
        name: {field: not optional for field, optional in _FIELD.findall(body)}
        for name, body in _INTERFACE.findall(text)
    }


def _fields_of_schema(schema: dict[str, Any]) -> dict[str, bool]:
    required = schema.get("required", [])
    return {field: field in required for field in schema["properties"]}


def test_the_types_of_bodies_have_the_fields_that_the_server_documents() -> None:
    settings = Settings(_env_file=None, REDIS_URL="redis://127.0.0.1")  # type: ignore[call-arg]
    schemas = create_app(settings).openapi()["components"]["schemas"]
    types = _fields_of_types()
    # It has all fields of a summary, and other `turns`.
    types["ConversationView"] = types["ConversationSummary"] | types["ConversationView"]
    assert "ChatBody" in types
    assert types == {name: _fields_of_schema(schemas[name]) for name in types}
