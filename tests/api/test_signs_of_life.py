"""SignsOfLife: which processes hang."""

from math import inf

from tickertape.runtime.signs_of_life import SignsOfLife


def started(*numbers: int, sign: float = -inf) -> SignsOfLife:
    signs = SignsOfLife(limit_s=20, start_limit_s=120)
    for number in numbers:
        signs.began(number, sign)
    return signs


def test_a_process_that_gives_no_new_sign_hangs_after_the_limit_and_its_sibling_does_not() -> None:
    signs = started(0, 1)
    assert signs.silent(1, {0: 5, 1: 5}) == {}
    for second in range(19):
        assert signs.silent(1, {0: 5, 1: 6 + second}) == {}
    assert signs.silent(1, {0: 5, 1: 99}) == {0: 20}


def test_a_process_that_starts_has_longer_also_if_it_replaces_another_one() -> None:
    for sign in (-inf, 7.0):
        signs = started(0, sign=sign)
        assert signs.silent(119, {0: sign}) == {}
        assert signs.silent(1, {0: sign}) == {0: 120}


def test_the_sign_of_a_process_that_joined_is_not_its_first_one() -> None:
    signs = started(0, sign=7.0)
    assert signs.silent(60, {0: -inf}) == {}
    assert signs.silent(60, {0: -inf}) == {0: 120}


def test_a_process_that_begins_again_is_forgiven() -> None:
    signs = started(0)
    signs.silent(1, {0: 5})
    assert signs.silent(20, {0: 5}) == {0: 20}
    signs.began(0, 5)
    assert signs.silent(20, {0: 5}) == {}
