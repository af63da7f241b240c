"""Settings that no variable and no file of this machine can change."""

from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from tickertape.runtime.settings import Settings


class GivenSettings(Settings):
    """Settings from keyword arguments only; every other setting has its default."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: Any,
        **named: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
