"""The parts of an address of Sentinels."""

from tickertape.runtime.sentinel_address import parse_sentinel_url


def test_the_account_of_the_servers_and_that_of_the_sentinels_are_apart() -> None:
    address = parse_sentinel_url(
        "redis+sentinel://me:p%2Fw@a:1,b,[::1]:3/main/2"
        "?client_name=n&sentinel_username=s&sentinel_password=q%26r"
    )
    assert address.sentinels == (("a", 1), ("b", 26379), ("::1", 3))
    assert address.name == "main"
    assert address.server_url == "redis://me:p%2Fw@sentinel/2?client_name=n"
    assert (address.username, address.password) == ("s", "q&r")
    assert "p%2Fw" not in repr(address)
    assert "q&r" not in repr(address)


def test_tls_is_for_servers_and_sentinels_and_the_first_database_is_the_default() -> None:
    address = parse_sentinel_url("rediss+sentinel://a/main")
    assert address.server_url == "rediss://sentinel/0"
    assert (address.username, address.password) == (None, None)
