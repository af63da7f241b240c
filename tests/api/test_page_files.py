"""The page as it is served: only its files, always current, restricted by its policy."""

import re
from importlib.resources import files
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.running_api import RunningApi, running_api
from tickertape.api.page import files as page_files
from tickertape.api.page.files import load_page

INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=|javascript:", re.IGNORECASE
)


def test_the_page_has_no_inline_code_so_its_policy_needs_no_exception() -> None:
    page = load_page().files["/"].body.decode()
    assert INLINE.search(page) is None
    assert "unsafe" not in load_page().files["/"].headers["Content-Security-Policy"]


def test_every_file_that_the_page_references_is_served() -> None:
    served = load_page().files
    named = {
        f"/{name}"
        for name in re.findall(
            rf'(?:src|href)="\./files/{load_page().version}/([\w./]+)"', served["/"].body.decode()
        )
    }
    assert named
    for path, file in served.items():
        if path.endswith(".js"):
            found = re.findall(r"""from ['"](\.[\w./]+)['"]""", file.body.decode())
            named |= {urljoin(path, name) for name in found}
    assert named <= set(served)


def test_the_page_asks_for_all_its_modules_at_once() -> None:
    served = load_page().files
    reached: set[str] = set()
    ahead = ["/page.js"]
    while ahead:
        path = ahead.pop()
        found = re.findall(r"""from ['"](\.[\w./]+)['"]""", served[path].body.decode())
        new = {urljoin(path, name) for name in found} - reached
        reached |= new
        ahead += new
    preloaded = re.findall(
        r'"modulepreload" href="\./files/\w+(/[\w./]+)"', served["/"].body.decode()
    )
    assert sorted(preloaded) == sorted(reached)


def test_all_that_the_page_may_load_is_under_300_kib() -> None:
    of_other_pages = re.compile(r"swagger|LICENSES|docs|status|\.d\.ts$")
    sizes = [
        len(file.gzipped)
        for path, file in load_page().files.items()
        if not of_other_pages.search(path)
    ]
    assert sum(sizes) < 300 * 1024


@pytest.mark.parametrize("name", ["client.js", "calls.js", "fold.js", "streams.js"])
def test_an_address_without_a_version_exports_what_version_1_does(name: str) -> None:
    served = load_page().files
    assert served[f"/{name}"].body == f"export * from './client/v1/{name}'\n".encode()
    assert served[f"/client/v1/{name}"].body.startswith(b"/**")


async def test_the_page_is_served_with_its_policy(api: RunningApi) -> None:
    answer = await api.client.get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    version = load_page().version
    source = (files("api") / "page" / "index.html").read_text()
    assert answer.text.replace(f"./files/{version}/", "./") == source


async def test_a_browser_keeps_the_scripts_of_a_page_and_asks_for_the_page_alone(
    api: RunningApi,
) -> None:
    page = await api.client.get("/")
    assert page.headers["Cache-Control"] == "no-cache"
    address = re.findall(r'src="\.(/files/\w+/page\.js)"', page.text)[0]
    script = await api.client.get(address)
    assert "immutable" in script.headers["Cache-Control"]
    assert script.content == (await api.client.get("/page.js")).content


async def test_a_page_of_another_version_gets_modules_that_no_browser_keeps(
    api: RunningApi,
) -> None:
    answer = await api.client.get("/files/0123456789ab/client/v1/fold.js")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.content == (await api.client.get("/client/v1/fold.js")).content


async def test_all_versions_need_no_key_and_other_paths_under_them_do(redis_url: str) -> None:
    async with running_api(redis_url, api_keys="a:a-key-of-a-tenant-0123456789") as api:
        paths = ["/files/0123456789ab/page.js", "/files/0123456789ab/chat", "/files/"]
        found = [(await api.client.get(path)).status_code for path in paths]
    assert found == [200, 401, 401]


def test_the_version_changes_with_any_script(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_page().version
    monkeypatch.setattr(page_files, "_UNVERSIONED", ("client.js",))
    assert load_page().version != before


async def test_a_file_is_sent_again_only_when_it_changed(api: RunningApi) -> None:
    first = await api.client.get("/client.js")
    assert first.headers["Content-Type"].startswith("text/javascript")
    assert first.headers["Cache-Control"] == "no-cache"
    etag = first.headers["ETag"]
    again = await api.client.get("/client.js", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    stale = await api.client.get("/client.js", headers={"If-None-Match": '"another"'})
    assert stale.status_code == 200


async def test_a_browser_gets_files_compressed_and_another_client_as_they_are(
    api: RunningApi,
) -> None:
    plain = await api.client.get("/page.css", headers={"Accept-Encoding": "identity"})
    packed = await api.client.get("/page.css", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 2
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["ETag"] != plain.headers["ETag"]


def test_files_with_a_hash_in_their_name_stay_in_the_browser_and_others_are_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-0123ABCD.js").write_bytes(b"1")
    (tmp_path / "a-0123ABCD.js.gz").write_bytes(b"packed at the build")
    (tmp_path / "libraries.js").write_bytes(b"2")
    monkeypatch.setattr("tickertape.api.page.files._ASSETS", str(tmp_path))
    served = {path.rpartition("/")[2]: file for path, file in load_page().files.items()}
    assert "immutable" in served["a-0123ABCD.js"].headers["Cache-Control"]
    assert served["a-0123ABCD.js"].gzipped == b"packed at the build"
    assert served["libraries.js"].headers["Cache-Control"] == "no-cache"
    assert "a-0123ABCD.js.gz" not in served


@pytest.mark.parametrize(
    "path",
    [
        "/package.json",
        "/client/v1/package.json",
        "/client/v1/README.md",
        "/client/v1/LICENSE",
        "/page/client.js",
        "/../main.py",
        "/%2e%2e/main.py",
        "/index.html",
        "/files/0123456789ab/index.html",
        "/files/0123456789ab/",
        "/files/0123456789ab/package.json",
        "/files/page.js",
    ],
)
async def test_no_other_file_is_served(api: RunningApi, path: str) -> None:
    assert (await api.client.get(path)).status_code == 404
