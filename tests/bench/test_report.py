"""A bound states whether it is held, and a report replaces its section of the document."""

import pytest

from bench.document import DOCUMENT, placed
from bench.report import Bound, Spread, ratios, short


def spread(*values: float) -> Spread:
    return Spread(values)


@pytest.mark.parametrize(
    ("values", "at_least", "is_held", "reaches_aim"),
    [
        ((1.0, 1.2, 9.0), False, True, True),
        ((1.0, 1.8, 1.9), False, True, False),
        ((1.0, 2.1, 3.0), False, False, False),
        ((2.1, 2.2, 0.1), True, True, True),
        ((0.1, 0.2, 9.0), True, False, False),
    ],
)
def test_the_median_decides_whether_a_bound_is_held(
    values: tuple[float, ...], at_least: bool, is_held: bool, reaches_aim: bool
) -> None:
    bound = Bound(
        "x", Spread(values), must=2.0, aim=1.5 if not at_least else 2.05, at_least=at_least
    )
    assert (bound.is_held, bound.reaches_aim) == (is_held, reaches_aim)


def test_no_round_is_hidden() -> None:
    cells = Bound("x", spread(3.0, 1.0, 2.0), must=1.0).cells()
    assert "3.00 1.00 2.00" in cells
    assert cells[-1] == "**not held**"


def test_ratios_are_taken_within_a_round() -> None:
    assert ratios([1.0, 4.0], [2.0, 2.0]).values == (0.5, 2.0)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (123456.7, "123,457")]
)
def test_three_digits_are_enough(value: float, text: str) -> None:
    assert short(value) == text


def test_a_section_replaces_only_its_own() -> None:
    other = "b <!-- measured: y -->y<!-- /measured: y -->"
    text = f"a <!-- measured: x -->old<!-- /measured: x --> {other}"
    assert placed(text, "x", "new") == (
        "a <!-- measured: x -->\n\nnew\n\n<!-- /measured: x --> b "
        "<!-- measured: y -->y<!-- /measured: y -->"
    )


def test_a_shape_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for z"):
        placed("text", "z", "new")


def test_every_shape_has_a_place_in_the_document() -> None:
    from bench.__main__ import SHAPES

    text = DOCUMENT.read_text("utf-8")
    for name in SHAPES:
        assert placed(text, name, "section")
