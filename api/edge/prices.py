"""Pure: what the tokens of a model cost, for limits of money."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from tickertape.broker.errors import SettingsInvalid

_NAME = "TICKERTAPE_PRICES"
_FORMAT = (
    "use model=input/output, the prices of a million tokens, with commas between models and * for"
    " any text: gpt-5*=1.25/10, *=0.5/1.5"
)
_HIGHEST = 1e6


class Price(NamedTuple):
    """The price of a token in millionths of the currency, which is that of a million tokens."""

    input: float
    output: float


class Prices:
    """The prices of models; `text` is TICKERTAPE_PRICES. Raises SettingsInvalid.

    The first pattern that a model's name matches counts.
    """

    def __init__(self, text: str | None) -> None:
        items = filter(None, map(str.strip, (text or "").replace("\n", ",").split(",")))
        self._prices = [_parse(item) for item in items]

    @property
    def is_empty(self) -> bool:
        """Whether no model has a price."""
        return not self._prices

    def of(self, model: str | None) -> Price | None:
        """The price of a model; None if it has none."""
        found = (price for pattern, price in self._prices if fnmatchcase(model or "", pattern))
        return next(found, None)


def _parse(item: str) -> tuple[str, Price]:
    pattern, _, prices = item.rpartition("=")
    first, _, second = prices.partition("/")
    try:
        price = Price(float(first), float(second))
    except ValueError:
        price = Price(-1, -1)
    # Comparisons with nan are false, so it is refused as well.
    if not pattern or not all(0 <= each <= _HIGHEST for each in price):
        raise SettingsInvalid(f"{_NAME} is wrong at `{item}`: {_FORMAT}")
    return pattern, price
