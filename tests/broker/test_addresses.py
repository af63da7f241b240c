"""What is shown of an address in logs, by `doctor` and by `up`."""

import pytest

from tickertape.runtime.addresses import hide_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://user:secret@host", "rediss://host"),
        ("redis://host", "redis://host"),
        (
            "redis+sentinel://me:secret@a:1,[::1]:2/main/0?sentinel_password=secret",
            "redis+sentinel://a:1,[::1]:2/main/0",
        ),
        ("https://user:secret@host/v1?key=secret#secret", "https://host/v1"),
        ("https://host/v1/@cf/model", "https://host/v1/@cf/model"),
        ("redis+cluster://me:secret@h1:1,h2:2", "redis+cluster://h1:1,h2:2"),
        ("rediss+cluster://:se,cret@h1,[::1]:2?ssl_keyfile=s", "rediss+cluster://h1,[::1]:2"),
        ("redis+cluster://me:sec/ret@h1:1,h2:2", "redis+cluster://(hidden)"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert hide_secrets(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@[::1]:6379/3", "redis://[::1]:6379/3"),
        ("redis://me:secret@[fe80::1]", "redis://[fe80::1]"),
    ],
)
def test_the_brackets_of_an_ipv6_address_stay(url: str, shown: str) -> None:
    assert hide_secrets(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("unix:///run/redis.sock?db=3", "unix:///run/redis.sock?db=3"),
        ("redis://:secret@host?db=2&password=secret", "redis://host?db=2"),
        ("redis://host?db=secret", "redis://host"),
    ],
)
def test_the_number_of_the_database_is_shown_wherever_it_stands(url: str, shown: str) -> None:
    assert hide_secrets(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:sec/ret@host:6379",
        "redis://me:12/34@host:6379",
        "redis://me:12#34@host:6379",
        "redis://me:12?34@host:6379",
        "redis://me:secret@[::1",
        "redis://host:port",
    ],
)
def test_an_ambiguous_address_shows_no_part_of_a_password(url: str) -> None:
    assert hide_secrets(url) == "redis://(hidden)"
