"""Short runs of each proof of isolation, and their controls, which must find what is planted."""

import base64
import resource
from pathlib import Path

import pytest

from tests.isolation.flood import Flood, flood
from tests.isolation.marks import CHAT, NATIVE, TEXT, Checked, Wire, foreign_marks
from tests.isolation.search import forms_of, search
from tests.isolation.secrets_story import search_for_secrets
from tests.isolation.tags import read_marks
from tests.support.deployment import Deployment

OWN = "[[ada.ann.7]]"


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_reader_receives_a_token_of_another_tenant_or_user(tmp_path: Path) -> None:
    record = await read_marks(tmp_path, 11, deltas=15_000)
    assert record.is_clean, record.report()
    assert record.counts["cancels"]
    assert record.counts["upstream calls"]
    assert set(record.deltas) == {"native", "text", "chat", "responses", "ai-sdk"}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_an_api_that_mixes_users_and_logs_is_found(tmp_path: Path) -> None:
    record = await read_marks(tmp_path, 11, deltas=10_000, is_broken=True)
    assert any("received b'[[" in each for each in record.foreign), record.report()
    assert any("the model of" in each for each in record.foreign), record.report()
    assert any("got 200" in each for each in record.opened), record.report()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_nothing_that_a_run_leaves_behind_has_a_prompt_a_key_or_a_ticket(
    tmp_path: Path,
) -> None:
    found = await search_for_secrets(tmp_path, every=60)
    assert not found.hits, found.report()
    assert found.calls > 80


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_search_finds_a_prompt_that_was_logged(tmp_path: Path) -> None:
    found = await search_for_secrets(tmp_path, every=200, leaks=True)
    assert {(hit.secret, hit.place) for hit in found.hits} == {("prompt", "log of api-2")}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_flood_by_one_tenant_leaves_another_one_its_answers(tmp_path: Path) -> None:
    waits = await flood(tmp_path, Flood(submits=200, streams=50), asks=30)
    # How long the answers take is measured by the full run, which has the processor to itself.
    assert len(waits.flooded_s) >= 30
    assert all(took_s > 0 for took_s in waits.flooded_s), waits.report()


@pytest.mark.slow
async def test_no_process_writes_a_core_even_if_its_shell_allows_cores(
    deployment: Deployment,
) -> None:
    before, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    try:
        program, _ = await deployment.running_api()
        worker = await deployment.running_worker()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (before, most))
    for each in (program, worker):
        assert resource.prlimit(each.process.pid, resource.RLIMIT_CORE) == (0, most)


@pytest.mark.parametrize("wire", [NATIVE, TEXT, CHAT])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_marks_are_counted_however_the_bytes_are_divided(wire: Wire, step: int) -> None:
    frames = {
        NATIVE: b'id: 5-%d\nevent: delta\ndata: {"text":"%s-1 "}\n\n',
        TEXT: b"%.0d%s-1 ",
        CHAT: b'data: {"x":%d,"delta":{"content":"%s-1 "}}\n\n',
    }
    sent = b"".join(frames[wire] % (n, OWN.encode()) for n in range(10))
    checked = Checked(OWN, wire)
    for at in range(0, len(sent), step):
        checked.feed(sent[at : at + step])
    checked.end()
    assert (checked.deltas, checked.foreign) == (10, set())
    if wire is NATIVE:
        assert checked.last_id == "5-9"


def test_a_foreign_mark_is_found_and_a_cut_one_of_the_own_is_not() -> None:
    assert foreign_marks(b"[[ada.ann.7]] [[ada.ann.70]] ", OWN.encode()) == {b"[[ada.ann.70]]"}
    assert foreign_marks(b"[[ada.sam.7]]", b"[[ada.ann.") == {b"[[ada.sam.7]]"}
    assert foreign_marks(b'"title":"[[ada.an"', b"[[ada.ann.") == set()
    assert foreign_marks(b'"title":"[[bob.an"', b"[[ada.ann.") == {b"[[bob.an"}


def test_a_delta_without_a_mark_is_found() -> None:
    checked = Checked(OWN, NATIVE)
    checked.feed(b'event: delta\ndata: {"text":"secret"}\n\n')
    assert checked.foreign == {b"a delta without a mark"}


@pytest.mark.parametrize("offset", range(3))
def test_a_secret_is_found_in_every_form(offset: int) -> None:
    secret = "a secret/of 24 characters"
    plain = b"x" * offset + secret.encode()
    for data in (plain, b"a%20secret%2Fof%2024%20characters", base64.b64encode(plain)):
        assert search({"it": secret}, {"a log": data}), data
    assert not search({"it": secret}, {"a log": b"a secret"})
    assert all(len(form) > 16 for form in forms_of(secret))
