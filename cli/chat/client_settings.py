"""The settings of `chat` and `watch`."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tickertape.cli.chat.client import Client
from tickertape.runtime.settings import load_settings


class _Credentials(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore"
    )

    api_key: SecretStr | None = Field(default=None, validation_alias="TICKERTAPE_API_KEY")


def api_key() -> str | None:
    """The value of TICKERTAPE_API_KEY, from the environment or `.env`."""
    secret = _Credentials().api_key
    return None if secret is None else secret.get_secret_value()


def make_client() -> Client:
    """A client of TICKERTAPE_URL. Needs a running event loop. Raises SettingsInvalid."""
    return Client(load_settings().url, api_key())
