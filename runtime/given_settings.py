"""Settings that no variable and no file of this machine can change, for tests."""

from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from tickertape.runtime.settings import Settings


class GivenSettings(Settings):
    """Settings from keyword arguments only; every other setting has its default."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # of pydantic
        init_settings: PydanticBaseSettingsSource,
        *others: Any,  # noqa: ARG003
        **named: Any,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
