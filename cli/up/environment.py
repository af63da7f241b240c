"""Pure: which servers `up` must start, and the variables that lead its children to them."""

from dataclasses import dataclass

from tickertape.runtime.settings import Settings

# A CPU may take minutes to process a long prompt, and nothing else waits for that slot.
_LOCAL_FIRST_BYTE_S = "1800"
# The file of one machine is small, so that a rewrite after an erasure costs little.
_REWRITE_AOF_S = "60"
# A person at a terminal waits for the end of `up`. No load balancer is in front of it.
_DRAIN_S, _DRAIN_DELAY_S = 5.0, 0.0


@dataclass(frozen=True)
class ModelAddress:
    """How to reach the local model."""

    base_url: str
    api_key: str
    model: str


def needs_redis(settings: Settings) -> bool:
    """Whether `up` must start a Redis server: REDIS_URL is not set."""
    return settings.redis_url is None


def needs_model(settings: Settings, *, has_functions: bool = False) -> bool:
    """Whether `up` must start the local model: it is chosen, or nothing else could answer."""
    return settings.local_model is not None or not (settings.has_upstream or has_functions)


def log_environment(settings: Settings) -> dict[str, str]:
    """The variables that keep the lines by which `up` knows that a process is ready."""
    return {"TICKERTAPE_LOG_LEVEL": "debug" if settings.log_level == "debug" else "info"}


def redis_environment(url: str, settings: Settings) -> dict[str, str]:
    """The variables that make the API and the workers use the embedded server."""
    environment = {"REDIS_URL": url}
    if "rewrite_aof_s" not in settings.model_fields_set:
        environment["TICKERTAPE_REWRITE_AOF_S"] = _REWRITE_AOF_S
    return environment


def model_environment(model: ModelAddress, settings: Settings) -> dict[str, str]:
    """The variables that make the API and the workers use the local model."""
    environment = {
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": model.api_key,
        # Overrides a model or profile of the user, which belongs to another upstream.
        "OPENAI_MODEL": model.model,
        "TICKERTAPE_UPSTREAM_PROFILE": "llama.cpp",
        "TICKERTAPE_UPSTREAMS": "",
    }
    if "first_byte_s" not in settings.model_fields_set:
        environment["TICKERTAPE_FIRST_BYTE_S"] = _LOCAL_FIRST_BYTE_S
    return environment


def drain_environment(settings: Settings) -> dict[str, str]:
    """The variables that set how long the API and the workers drain."""
    is_set = settings.model_fields_set
    drain_s = settings.drain_s if "drain_s" in is_set else _DRAIN_S
    delay_s = settings.drain_delay_s if "drain_delay_s" in is_set else _DRAIN_DELAY_S
    return {"TICKERTAPE_DRAIN_S": f"{drain_s:g}", "TICKERTAPE_DRAIN_DELAY_S": f"{delay_s:g}"}


def url_of(host: str, port: int) -> str:
    """The URL at which a browser on this machine reaches a server that listens on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def slots_per_worker(model_slots: int, workers: int) -> int:
    """The slots of each worker. A request beyond the model's slots would wait there, not queued."""
    return max(1, model_slots // workers)
