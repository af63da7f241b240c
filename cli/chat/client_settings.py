"""Where the client commands find the API: `--url` and `--key`, else the settings."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tickertape.cli.exits import CommandFailed, Exit
from tickertape.client import AsyncClient, CallRefused, Timing
from tickertape.runtime.environment import given_variables, load_settings
from tickertape.runtime.secret_files import secret_in_file


class _Credentials(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore"
    )

    api_key: SecretStr | None = Field(default=None, validation_alias="TICKERTAPE_API_KEY")


@dataclass(frozen=True)
class Server:
    """The values of `--url` and `--key`; None stands for the setting.

    `url_option` is the name of the option or argument that has the URL.
    """

    url: str | None = None
    key: str | None = None
    url_option: str = "--url"


def api_key() -> str | None:
    """The value of TICKERTAPE_API_KEY, or of its file. Raises SettingsInvalid for the file."""
    in_file = secret_in_file("TICKERTAPE_API_KEY", given_variables())
    secret = _Credentials().api_key
    return in_file if secret is None else secret.get_secret_value()


def make_client(
    server: Server,
    *,
    notify: Callable[[str], None] | None = None,
    timing: Timing | None = None,
) -> AsyncClient:
    """A client of `server`. Raises SettingsInvalid, and CommandFailed if `url` is not a URL."""
    url = load_settings().url if server.url is None else server.url
    try:
        return AsyncClient(
            url,
            # An empty key, so that the client does not read the variable a second time.
            (server.key or api_key()) or "",
            notify=notify,
            timing=timing or Timing(),
            url_name="TICKERTAPE_URL" if server.url is None else server.url_option,
        )
    except CallRefused as refused:
        raise CommandFailed(str(refused), Exit.USAGE) from None
