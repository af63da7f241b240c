"""Settings that no variable and no file of this machine can change."""

from tickertape.runtime.given_settings import GivenSettings

__all__ = ["GivenSettings"]
