"""Write the generated pages of the site: both API references and the top-level documents."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mkdocs_gen_files

from tickertape.api.app import create_app
from tickertape.runtime.settings import Settings

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL = {
    "contributing.md": "CONTRIBUTING.md",
    "security-policy.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}


def write(path: str, text: str) -> None:
    with mkdocs_gen_files.open(path, "w") as page:
        page.write(text)


def write_top_level_documents() -> None:
    """The documents of the top level, as pages of the site."""
    for page, document in TOP_LEVEL.items():
        text = (ROOT / document).read_text(encoding="utf-8")
        write(page, with_site_links(text.replace("](docs/", "](")))


def rewrite_links_to_the_top_level() -> None:
    """Pages link to `../CONTRIBUTING.md`, where a reader of the repository finds it."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if "](../" in text:
            write(path.name, with_site_links(text.replace("](../", "](")))


def with_site_links(text: str) -> str:
    """The text, with links to documents of the top level turned into links to their pages."""
    for page, document in TOP_LEVEL.items():
        text = text.replace(f"]({document}", f"]({page}")
    return text


def write_http_api() -> None:
    """The HTTP API, from the same OpenAPI document that a running server serves."""
    app = create_app(Settings(_env_file=None, REDIS_URL="redis://127.0.0.1"))  # type: ignore[call-arg]
    document = app.openapi()
    write("openapi.json", json.dumps(document))
    write("http-api.md", openapi_page(document))


def packages() -> list[Path]:
    """All packages below `tickertape`, in alphabetical order."""
    top = ROOT / "tickertape"
    tops = sorted(folder for folder in top.iterdir() if (folder / "__init__.py").exists())
    nested = [sub for folder in tops for sub in sorted(folder.rglob("__init__.py"))]
    return [init.parent for init in nested]


def write_python_api() -> None:
    """One page for each package, with the docstrings of its modules."""
    index = ["# Python API", "", "Every package, with the docstrings of its modules.", ""]
    for package in packages():
        name = ".".join(package.relative_to(ROOT).parts)
        page = f"{name.removeprefix('tickertape.')}.md"
        index.append(f"- [{name}]({page})")
        modules = sorted(path.stem for path in package.glob("*.py") if path.stem != "__init__")
        blocks = [f"# {name}", "", f"::: {name}", "    options:", "      members: false", ""]
        for module in modules:
            blocks += [f"::: {name}.{module}", ""]
        write(f"reference/{page}", "\n".join(blocks))
    write("reference/index.md", "\n".join(index) + "\n")


def openapi_page(document: Json) -> str:
    """The page of an OpenAPI document: a section for each tag, a heading for each operation."""
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            section = by_tag.setdefault(operation.get("tags", ["other"])[0], [])
            section.extend(_operation(document, f"{method.upper()} {path}", operation))
    lines = [
        "# HTTP API",
        "",
        "A running server shows the same under `/docs`, where each call can be tried.",
        "",
    ]
    for tag, section in by_tag.items():
        lines += [f"## {tag.capitalize()}", "", *section]
    return "\n".join(lines) + "\n"


def _operation(document: Json, title: str, operation: Json) -> Iterator[str]:
    yield from (f"### `{title}`", "", operation.get("description", ""), "")
    parameters = operation.get("parameters", [])
    if parameters:
        rows = [
            (
                f"`{parameter['name']}`",
                parameter["in"],
                _type(document, parameter["schema"]),
                _description(parameter),
            )
            for parameter in parameters
        ]
        yield from _table(("parameter", "in", "type", "meaning"), rows)
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        yield from _fields(document, body["schema"])
    rows = [
        (f"`{status}`", _description(response))
        for status, response in operation["responses"].items()
    ]
    yield from _table(("status", "meaning"), rows)


def _fields(document: Json, schema: Json) -> Iterator[str]:
    resolved = _resolve(document, schema)
    required = resolved.get("required", [])
    rows = [
        (
            f"`{name}`" + (" (required)" if name in required else ""),
            _type(document, field),
            _description(field),
        )
        for name, field in resolved.get("properties", {}).items()
    ]
    yield from _table(("field of the body", "type", "meaning"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield f"| {' | '.join(head)} |"
        yield f"|{'---|' * len(head)}"
        for row in rows:
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
        yield ""


def _description(described: Json) -> str:
    return str(described.get("description", "")).replace("\n", " ")


def _resolve(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _type(document: Json, schema: Json) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(_type(document, option) for option in options)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    return str(schema.get("type", "any"))


write_top_level_documents()
rewrite_links_to_the_top_level()
write_http_api()
write_python_api()
