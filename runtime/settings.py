"""Every setting of all processes, with its default and its bounds.

Numbers carry their unit in their name. `environment.py` reads the values, once at the start.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tickertape.runtime.addresses import is_cluster
from tickertape.runtime.networks import networks_of
from tickertape.runtime.secret_files import SecretFile
from tickertape.runtime.setting_addresses import (
    checked_history_url,
    checked_http_url,
    checked_key_set_url,
    checked_redis_url,
    checked_root_path,
)
from tickertape.runtime.signing_secrets import secrets_of

_MIB = 1024 * 1024
_NAMESPACE = re.compile(r"[a-z0-9_-]{1,32}", re.ASCII)
# A cluster serves each partition from one master, so that one partition would use one master only.
_CLUSTER_PARTITIONS = 16
ENV_FILE, ENV_ENCODING = ".env", "utf-8"


def _ours(*names: str) -> AliasChoices:
    return AliasChoices(*(f"TICKERTAPE_{name}" for name in names))


# The profiles of worker/upstream/profiles.py. Named here, because a wrong name must stop the start.
UpstreamProfile = Literal[
    "vllm", "llama.cpp", "deepseek", "mistral", "gemini", "openai", "anthropic", "other"
]


class Settings(BaseSettings):
    """All settings of all processes; the field's alias is the variable's name."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding=ENV_ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
    )

    redis_url: str | None = Field(default=None, validation_alias="REDIS_URL", repr=False)
    openai_base_url: str | None = Field(
        default=None, validation_alias="OPENAI_BASE_URL", repr=False
    )
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    openai_model: str | None = Field(default=None, validation_alias="OPENAI_MODEL")

    upstreams: Path | None = Field(default=None, validation_alias=_ours("UPSTREAMS"))
    upstream_profile: UpstreamProfile | None = Field(
        default=None, validation_alias=_ours("UPSTREAM_PROFILE")
    )
    url: str = Field(default="http://127.0.0.1:8000", validation_alias=_ours("URL"))
    namespace: str = Field(default="", validation_alias=_ours("NAMESPACE"))
    partitions: int = Field(default=1, ge=1, le=1024, validation_alias=_ours("PARTITIONS"))
    lease_s: float = Field(default=5, ge=0.5, le=300, validation_alias=_ours("LEASE_S"))
    max_crashes: int = Field(
        default=3, ge=1, le=100, validation_alias=_ours("MAX_CRASHES", "MAX_ATTEMPTS")
    )
    first_byte_s: float = Field(default=300, gt=0, le=86400, validation_alias=_ours("FIRST_BYTE_S"))
    stall_s: float = Field(default=60, gt=0, le=86400, validation_alias=_ours("STALL_S"))
    deadline_s: float = Field(default=1800, gt=0, le=86400, validation_alias=_ours("DEADLINE_S"))
    retention_s: int = Field(
        default=3600, ge=1, le=31_536_000, validation_alias=_ours("RETENTION_S")
    )
    compact_after_s: float = Field(
        default=60, ge=0, le=31_536_000, validation_alias=_ours("COMPACT_AFTER_S")
    )
    queue_limit: int = Field(default=10_000, ge=1, validation_alias=_ours("QUEUE_LIMIT"))
    tenant_limit: int = Field(default=100, ge=1, validation_alias=_ours("TENANT_LIMIT"))
    tenant_bytes: int | None = Field(default=None, ge=1024, validation_alias=_ours("TENANT_BYTES"))
    queue_bytes: int = Field(default=256 * _MIB, ge=1024, validation_alias=_ours("QUEUE_BYTES"))
    max_body_bytes: int = Field(
        default=20 * _MIB, ge=1024, validation_alias=_ours("MAX_BODY_BYTES")
    )
    max_json_values: int = Field(default=100_000, ge=100, validation_alias=_ours("MAX_JSON_VALUES"))
    # A larger limit would exceed Python's recursion limit between here and the upstream.
    max_json_depth: int = Field(default=128, ge=8, le=500, validation_alias=_ours("MAX_JSON_DEPTH"))
    max_output_bytes: int = Field(
        default=4 * _MIB, ge=1024, validation_alias=_ours("MAX_OUTPUT_BYTES")
    )
    rewrite_aof_s: float = Field(
        default=0, ge=0, le=31_536_000, validation_alias=_ours("REWRITE_AOF_S")
    )
    conversation_ttl_s: int = Field(
        default=604_800, ge=1, le=31_536_000, validation_alias=_ours("CONVERSATION_TTL_S")
    )
    conversation_turns: int = Field(
        default=400, ge=1, le=10_000, validation_alias=_ours("CONVERSATION_TURNS")
    )
    memory_bytes: int = Field(default=16 * _MIB, ge=0, validation_alias=_ours("MEMORY_BYTES"))
    context_tokens: int = Field(
        default=128_000, ge=1024, le=100_000_000, validation_alias=_ours("CONTEXT_TOKENS")
    )
    api_keys: SecretStr | None = Field(default=None, validation_alias=_ours("API_KEYS"))
    prompt_cache: Literal["tenant", "shared"] = Field(
        default="tenant", validation_alias=_ours("PROMPT_CACHE")
    )
    tenant_rules: str | None = Field(default=None, validation_alias=_ours("TENANT_RULES"))
    prices: str | None = Field(default=None, validation_alias=_ours("PRICES"))
    require_keys: bool = Field(default=False, validation_alias=_ours("REQUIRE_KEYS"))
    ticket_secret: SecretStr | None = Field(default=None, validation_alias=_ours("TICKET_SECRET"))
    key_secret: SecretStr | None = Field(default=None, validation_alias=_ours("KEY_SECRET"))
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias=_ours("LOG_LEVEL")
    )
    audit_log: str | None = Field(default=None, validation_alias=_ours("AUDIT_LOG"))
    jwt_jwks_url: str | None = Field(default=None, validation_alias=_ours("JWT_JWKS_URL"))
    jwt_issuer: str | None = Field(default=None, validation_alias=_ours("JWT_ISSUER"))
    jwt_audience: str | None = Field(default=None, validation_alias=_ours("JWT_AUDIENCE"))
    jwt_user_claim: str = Field(
        default="sub", min_length=1, validation_alias=_ours("JWT_USER_CLAIM")
    )
    jwt_tenant_claim: str = Field(
        default="tenant", min_length=1, validation_alias=_ours("JWT_TENANT_CLAIM")
    )
    jwt_tenant: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$", validation_alias=_ours("JWT_TENANT")
    )
    cors_origins: str | None = Field(default=None, validation_alias=_ours("CORS_ORIGINS"))
    # What any caller may send, hold and leave unread: see api/serving/bounds.py.
    trusted_proxies: str = Field(default="", validation_alias=_ours("TRUSTED_PROXIES"))
    root_path: str = Field(default="", validation_alias=_ours("ROOT_PATH"))
    metrics_host: str = Field(
        default="127.0.0.1", min_length=1, validation_alias=_ours("METRICS_HOST")
    )
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, validation_alias=_ours("METRICS_PORT")
    )
    hsts_s: int = Field(default=0, ge=0, le=63_072_000, validation_alias=_ours("HSTS_S"))
    max_header_bytes: int = Field(
        default=32_768, ge=4096, le=_MIB, validation_alias=_ours("MAX_HEADER_BYTES")
    )
    max_headers: int = Field(default=100, ge=20, le=10_000, validation_alias=_ours("MAX_HEADERS"))
    head_s: float = Field(default=20, gt=0, le=3600, validation_alias=_ours("HEAD_S"))
    body_s: float = Field(default=300, gt=0, le=86400, validation_alias=_ours("BODY_S"))
    body_stall_s: float = Field(default=10, gt=0, le=3600, validation_alias=_ours("BODY_STALL_S"))
    body_slots: int = Field(default=256, ge=1, validation_alias=_ours("BODY_SLOTS"))
    unread_s: float = Field(default=30, gt=0, le=3600, validation_alias=_ours("UNREAD_S"))
    address_connections: int = Field(
        default=1000, ge=0, validation_alias=_ours("ADDRESS_CONNECTIONS")
    )
    bodies_bytes: int = Field(default=128 * _MIB, ge=1024, validation_alias=_ours("BODIES_BYTES"))
    heartbeat_s: float = Field(default=15, ge=0.1, le=300, validation_alias=_ours("HEARTBEAT_S"))
    drain_s: float = Field(default=300, ge=0, le=86400, validation_alias=_ours("DRAIN_S"))
    drain_delay_s: float = Field(default=5, ge=0, le=600, validation_alias=_ours("DRAIN_DELAY_S"))
    coalesce_ms: float = Field(default=16, ge=0, le=1000, validation_alias=_ours("COALESCE_MS"))
    worker_health_host: str = Field(
        default="127.0.0.1", min_length=1, validation_alias=_ours("WORKER_HEALTH_HOST")
    )
    worker_health_port: int | None = Field(
        default=None, ge=0, le=65535, validation_alias=_ours("WORKER_HEALTH_PORT")
    )
    deliver_health_host: str = Field(
        default="127.0.0.1", min_length=1, validation_alias=_ours("DELIVER_HEALTH_HOST")
    )
    deliver_health_port: int | None = Field(
        default=None, ge=0, le=65535, validation_alias=_ours("DELIVER_HEALTH_PORT")
    )
    local_model: Path | None = Field(default=None, validation_alias=_ours("LOCAL_MODEL"))
    local_model_slots: int = Field(
        default=4, ge=1, le=64, validation_alias=_ours("LOCAL_MODEL_SLOTS")
    )
    local_model_context: int | None = Field(
        default=None, ge=256, le=10_000_000, validation_alias=_ours("LOCAL_MODEL_CONTEXT")
    )
    webhooks: Path | None = Field(default=None, validation_alias=_ours("WEBHOOKS"))
    history_url: SecretStr | None = Field(default=None, validation_alias=_ours("HISTORY_URL"))
    history_days: int | None = Field(
        default=None, ge=1, le=36_500, validation_alias=_ours("HISTORY_DAYS")
    )
    history_bytes: int = Field(default=256 * _MIB, ge=1024, validation_alias=_ours("HISTORY_BYTES"))
    titles: Literal["words", "model"] = Field(default="words", validation_alias=_ours("TITLES"))
    titles_model: str | None = Field(default=None, validation_alias=_ours("TITLES_MODEL"))
    roles_dir: Path | None = Field(default=None, validation_alias=_ours("ROLES_DIR"))

    _files: Mapping[str, SecretFile] = PrivateAttr(default_factory=dict)

    @field_validator("redis_url")
    @classmethod
    def _one_server(cls, url: str | None) -> str | None:
        return url if url is None else checked_redis_url(url)

    @model_validator(mode="after")
    def _several_masters(self) -> "Settings":
        is_given = "partitions" in self.model_fields_set
        if self.redis_url and is_cluster(self.redis_url) and not is_given:
            self.partitions = _CLUSTER_PARTITIONS
        return self

    @field_validator("ticket_secret", "key_secret")
    @classmethod
    def _one_in_each_line(cls, secret: SecretStr | None) -> SecretStr | None:
        _ = secrets_of(secret)
        return secret

    @field_validator("root_path")
    @classmethod
    def _path(cls, path: str) -> str:
        return checked_root_path(path)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, text: str) -> str:
        networks_of(text)
        return text

    @field_validator("namespace")
    @classmethod
    def _part_of_keys(cls, namespace: str) -> str:
        if namespace and not _NAMESPACE.fullmatch(namespace):
            message = "use at most 32 of the characters a-z, 0-9, - and _"
            raise ValueError(message)
        return namespace

    @field_validator("jwt_jwks_url")
    @classmethod
    def _unchanged_on_its_way(cls, url: str | None) -> str | None:
        return url if url is None else checked_key_set_url(url)

    @field_validator("history_url")
    @classmethod
    def _database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            checked_history_url(url.get_secret_value())
        return url

    @field_validator("openai_base_url", "url")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        return url if url is None else checked_http_url(url)

    @property
    def files(self) -> Mapping[str, SecretFile]:
        """The files that secrets were read from, by the names of their variables."""
        return self._files

    def read_from(self, files: Mapping[str, SecretFile]) -> Self:
        """These settings, which remember the files that their secrets were read from."""
        self._files = files
        return self

    @property
    def lease_ms(self) -> int:
        """The lease in ms, as the scripts expect it."""
        return int(self.lease_s * 1000)

    @property
    def has_upstream(self) -> bool:
        """Whether an upstream is set."""
        set_ones = (self.upstreams, self.openai_api_key, self.openai_base_url)
        return any(each is not None for each in set_ones)

    @property
    def is_closed(self) -> bool:
        """Whether the settings let in callers with keys or tokens only."""
        return self.api_keys is not None or self.require_keys or self.jwt_jwks_url is not None

    @property
    def origins(self) -> tuple[str, ...]:
        """The allowed CORS origins."""
        return tuple(
            origin.strip() for origin in (self.cors_origins or "").split(",") if origin.strip()
        )
