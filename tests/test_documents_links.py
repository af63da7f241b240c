"""Links and file names in the documents lead to files and headings that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md")
    for path in ROOT.glob(pattern)
)
# `make docs` writes these pages, which fails on a dead link to one of them.
GENERATED = {"docs/http-api.md", "docs/reference/index.md"}
FOLDERS = "api|worker|broker|roles|runtime|cli|bench|tests|docs|examples"

_CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE_NAME = re.compile(rf"`((?:{FOLDERS})/[\w./-]+)(?:::\w+)?`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _text(document: str) -> str:
    return _CODE_BLOCK.sub("", (ROOT / document).read_text("utf-8"))


def _anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as the site and code hosts make them."""
    headings = _HEADING.findall(document.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def _is_dead(link: str, document: str) -> bool:
    if re.match(r"\w+:", link):
        return False  # another site
    path, _, anchor = link.partition("#")
    target = (ROOT / document).parent.joinpath(path).resolve() if path else ROOT / document
    if target.relative_to(ROOT).as_posix() in GENERATED:
        return False
    return not target.exists() or (bool(anchor) and anchor not in _anchors(target))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file_and_a_heading(document: str) -> None:
    links = _LINK.findall(_text(document))
    assert [link for link in links if _is_dead(link, document)] == []


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_every_file_that_is_named_exists(document: str) -> None:
    """The changelog is left out, because it names files of earlier versions."""
    names = [name for name in _FILE_NAME.findall(_text(document)) if "NAME" not in name]
    beside = [ROOT, ROOT / "tests"]  # names of tests leave `tests/` out
    assert [name for name in names if not any((top / name).exists() for top in beside)] == []


def test_every_page_has_an_entry_in_the_site_s_navigation() -> None:
    """`make docs` fails on a page without one, and takes longer to say so."""
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [name.removeprefix("docs/") for name in DOCUMENTS if name.startswith("docs/")]
    assert [
        page
        for page in pages
        if not re.search(rf"[ :]{re.escape(page)}$", navigation, re.MULTILINE)
    ] == []


def test_every_decision_is_in_the_index_of_decisions() -> None:
    decisions = ROOT / "docs/decisions"
    index = (decisions / "index.md").read_text("utf-8")
    names = [path.name for path in decisions.glob("[0-9]*.md")]
    assert [name for name in names if f"({name})" not in index] == []


def test_a_dead_link_is_found() -> None:
    assert _is_dead("docs/nowhere.md", "README.md")
    assert _is_dead("docs/wires.md#nowhere", "README.md")
    assert not _is_dead("docs/wires.md#overview", "README.md")
