"""Pure: what `up` gives its child processes to know, and what it says about it."""

from dataclasses import dataclass

from tickertape.runtime.settings import Settings

# A CPU may take minutes to read a long prompt, and nothing else waits for it meanwhile.
_LOCAL_FIRST_BYTE_S = "1800"


@dataclass(frozen=True)
class ModelAddress:
    """Where the local model is."""

    base_url: str
    api_key: str
    model: str


def needs_redis(settings: Settings) -> bool:
    """Whether a server has to be started; never when REDIS_URL is set."""
    return settings.redis_url is None


def needs_model(settings: Settings) -> bool:
    """Whether a model has to be started; never when an upstream is set."""
    return settings.openai_api_key is None and settings.openai_base_url is None


def model_environment(model: ModelAddress, settings: Settings) -> dict[str, str]:
    """What points the API and the workers to the local model."""
    environment = {
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": model.api_key,
        # A model or profile that was set belongs to an upstream that was not.
        "OPENAI_MODEL": model.model,
        "TICKERTAPE_UPSTREAM_PROFILE": "llama.cpp",
    }
    if "first_byte_s" not in settings.model_fields_set:
        environment["TICKERTAPE_FIRST_BYTE_S"] = _LOCAL_FIRST_BYTE_S
    return environment


def url_of(host: str, port: int) -> str:
    """Where a browser on this machine finds what listens on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def slots_per_worker(model_slots: int, workers: int) -> int:
    """How many requests each worker runs, so that none waits inside the model, unseen."""
    return max(1, model_slots // workers)


def how_to_use(url: str, *, has_keys: bool, has_proxy: bool = False) -> str:
    """Lines that can be copied: submit, follow, and the same in one."""
    key = ' -H "Authorization: Bearer $TICKERTAPE_API_KEY"' if has_keys else ""
    # curl would look for this machine behind a proxy that was set for the internet.
    direct = " --noproxy '*'" if has_proxy else ""
    prefix = "" if url == "http://127.0.0.1:8000" else f"TICKERTAPE_URL={url} "
    return f"""\
Page     {url}/
Submit   id=$(curl -s{direct}{key} {url}/chat -H 'Content-Type: application/json' \
-d '{{"message": "Write a haiku"}}' | cut -d'"' -f4)
Follow   curl -N{direct}{key} {url}/chat/$id/stream
Or both  {prefix}tickertape chat 'Write a haiku'"""
