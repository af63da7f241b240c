"""Which data each upstream of `up` has: a folder for each, or a Redis for one."""

import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.given_settings import GivenSettings
from tickertape.broker.connections import Connections
from tickertape.broker.upstream_mark import mark_upstream
from tickertape.cli.exits import CommandFailed
from tickertape.cli.up.redis_mark import claim_redis
from tickertape.cli.up.upstream_data import all_data_dirs, claim_data_dir, data_dir_of, label_of
from tickertape.cli.up.upstream_identity import LOCAL, UpstreamIdentity, upstream_identity

A = UpstreamIdentity("a.example-1", "https://a.example/v1")
B = UpstreamIdentity("b.example-2", "https://b.example/v1")


def identity(url: str | None, key: str | None = "sk-1") -> UpstreamIdentity:
    secret = SecretStr(key) if key else None
    return upstream_identity(GivenSettings(openai_base_url=url, openai_api_key=secret))


def test_without_an_upstream_the_local_model_is_one() -> None:
    assert identity(None, None) == LOCAL


def test_the_default_address_is_the_same_upstream_as_when_it_is_written_out() -> None:
    assert identity(None) == identity("https://api.openai.com/v1")
    assert identity(None).name.startswith("api.openai.com-")


@pytest.mark.parametrize(
    "other",
    ["https://API.example:443/v1/", "https://api.example/v1", "https://api.example/v1?key=k"],
)
def test_one_address_in_several_spellings_is_one_upstream(other: str) -> None:
    assert identity(other).name == identity("https://api.example/v1").name


@pytest.mark.parametrize(
    "other",
    [
        "http://api.example/v1",
        "https://api.example:444/v1",
        "https://api.example/v2",
        "https://api2.example/v1",
        "https://ada:pass@api.example/v1",
    ],
)
def test_another_address_or_account_is_another_upstream(other: str) -> None:
    assert identity(other).name != identity("https://api.example/v1").name


def test_a_new_key_or_password_does_not_hide_the_conversations() -> None:
    assert identity(None, "sk-old") == identity(None, "sk-new")
    urls = [f"https://ada:{password}@api.example/v1" for password in ("old", "new")]
    assert identity(urls[0]) == identity(urls[1])


def test_neither_the_name_nor_the_label_shows_a_secret() -> None:
    shown = identity("https://only-a-key@api.example/v1?key=secret", "sk-hidden")
    assert shown.label == "https://api.example/v1"
    for secret in ("only-a-key", "secret", "hidden"):
        assert secret not in shown.name


def test_each_name_is_one_part_of_a_path() -> None:
    assert "/" not in identity("http://[::1]:8080/v1/../../x").name
    assert len(identity(f"https://{'a' * 300}.example/v1").name) < 100


def test_the_first_upstream_has_the_folder_and_the_others_have_folders_in_it(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    assert claim_data_dir(data, A) == data
    assert claim_data_dir(data, B) == data / "upstreams" / B.name
    assert claim_data_dir(data, A) == data
    assert label_of(data) == A.label
    assert data_dir_of(data, B) == data / "upstreams" / B.name


def test_data_without_a_mark_belongs_to_the_upstream_that_starts_first(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    assert data_dir_of(tmp_path, B) == tmp_path
    assert label_of(tmp_path) == ""
    assert claim_data_dir(tmp_path, A) == tmp_path
    assert data_dir_of(tmp_path, B) != tmp_path


def test_of_several_upstreams_at_once_one_has_the_folder(tmp_path: Path) -> None:
    upstreams = [UpstreamIdentity(f"u-{number}", "u") for number in range(8)]
    starts = threading.Barrier(len(upstreams))
    claimed = []

    def claim(upstream: UpstreamIdentity) -> None:
        starts.wait()
        claimed.append(claim_data_dir(tmp_path, upstream))

    threads = [threading.Thread(target=claim, args=(upstream,)) for upstream in upstreams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert claimed.count(tmp_path) == 1
    assert len(set(claimed)) == len(upstreams)
    assert [path.name for path in tmp_path.iterdir()] == ["upstream"]


def test_all_folders_are_listed(tmp_path: Path) -> None:
    assert list(all_data_dirs(tmp_path)) == [tmp_path]
    (tmp_path / "upstreams" / B.name).mkdir(parents=True)
    assert list(all_data_dirs(tmp_path)) == [tmp_path, tmp_path / "upstreams" / B.name]


async def test_a_redis_keeps_the_mark_of_its_first_upstream(redis_url: str) -> None:
    connections = Connections(redis_url)
    try:
        assert await mark_upstream(connections, A.name, A.label) is None
        assert await mark_upstream(connections, B.name, B.label) == A.label
        assert await mark_upstream(connections, A.name, A.label) is None
        assert await mark_upstream(connections, B.name, B.label, replaces=True) is None
        assert await mark_upstream(connections, A.name, A.label) == B.label
    finally:
        await connections.aclose()


def test_a_redis_of_another_upstream_is_refused_until_the_switch_is_allowed(
    redis_url: str,
) -> None:
    claim_redis(redis_url, A, namespace="", replaces=False)
    claim_redis(redis_url, A, namespace="", replaces=False)
    with pytest.raises(CommandFailed, match=r"used with https://a\.example/v1.*--switch-upstream"):
        claim_redis(redis_url, B, namespace="", replaces=False)
    claim_redis(redis_url, B, namespace="", replaces=True)
    with pytest.raises(CommandFailed, match=r"used with https://b\.example/v1"):
        claim_redis(redis_url, A, namespace="", replaces=False)
