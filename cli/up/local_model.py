"""The model that `up` runs when no upstream is set: a GGUF file on llama.cpp.

`local_model` starts this module as a separate process (`python -m tickertape.cli.up.local_model`),
because llama.cpp kills its process on a CPU that it was not built for.
"""

import argparse
import contextlib
import http.client
import io
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.up.model_weights import INSTEAD, LocalModelError, Weights, find_weights
from tickertape.cli.up.spawn import describe_exit, spawn, stop
from tickertape.runtime.environment import load_settings

_HOST = "127.0.0.1"
_KEY_VARIABLE = "TICKERTAPE_LOCAL_MODEL_KEY"
_PROMPT_CACHE_MIB = 256
_LOG_TAIL_BYTES = 2000
# That of the model's file, with another prompt for conversations without a system message.
_CHAT_TEMPLATE = """\
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\nYou are a helpful AI assistant. Answer briefly.<|im_end|>\n' }}\
{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}\
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""


@dataclass(frozen=True)
class LocalModel:
    """A running OpenAI-compatible server with `slots` concurrent answers.

    `base_url` and `api_key` are values for OPENAI_BASE_URL and OPENAI_API_KEY. Clients must send
    "Connection: close": the server announces keep-alive, but closes the connection after each
    stream, so every second request on a pooled connection would be lost.
    """

    base_url: str
    api_key: str = field(repr=False)
    weights: Weights
    log_path: Path
    process: subprocess.Popen[bytes]

    @property
    def model(self) -> str:
        """The name under which requests can ask for the model."""
        return self.weights.name

    @property
    def slots(self) -> int:
        """The number of concurrent answers."""
        return self.weights.slots

    def exit_code(self) -> int | None:
        """The return code of the process if it has ended, else None."""
        return self.process.poll()


def default_threads() -> int:
    """All cores but one, because llama.cpp busy-waits and would starve the other processes."""
    return max(1, (os.cpu_count() or 2) - 1)


@contextlib.contextmanager
def local_model(
    weights: Weights,
    log_path: Path,
    *,
    threads: int | None = None,
    start_timeout_s: float = 60,
) -> Iterator[LocalModel]:
    """Run the model of `weights` on a random loopback port until the end of the block.

    Callers need its random key. The process ends when this process ends for any reason. `log_path`
    is overwritten with the output of the process. Call it in the main thread. Raises
    LocalModelError, also if the model is not ready after `start_timeout_s`.
    """
    api_key = secrets.token_urlsafe(24)
    process, ready_fd = _launch(weights, log_path, api_key, threads or default_threads())
    try:
        with os.fdopen(ready_fd, "rb", buffering=0) as ready:
            address = _read_line(ready, start_timeout_s)
        if not _is_healthy(address):
            raise LocalModelError(_explain(process, weights, log_path, start_timeout_s))
        yield LocalModel(f"http://{address}/v1", api_key, weights, log_path, process)
    finally:
        stop(process)


def _launch(
    weights: Weights, log_path: Path, api_key: str, threads: int
) -> tuple[subprocess.Popen[bytes], int]:
    """The started process, and a descriptor to which it writes its address when it is ready."""
    ready_fd, address_fd = os.pipe()
    options = {
        "weights": msgspec.json.encode(weights, enc_hook=str).decode(),
        "threads": threads,
        "ready-fd": address_fd,
        "parent": os.getpid(),
    }
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
        raise LocalModelError(f"cannot start the local model: {error}. {INSTEAD}") from error
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


def _explain(
    process: subprocess.Popen[bytes], weights: Weights, log_path: Path, timeout_s: float
) -> str:
    # The kernel closes the pipe of a dying process shortly before its exit code is available.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    code = process.poll()
    if code is None:
        return f"the local model was not ready after {timeout_s:g} s. Log: {log_path}. {INSTEAD}"
    if code == -signal.SIGILL:
        return f"the local model does not support this CPU. {INSTEAD}"
    tail = log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
    what, instead = "the local model", INSTEAD
    if not weights.is_built_in:
        what = f"TICKERTAPE_LOCAL_MODEL is {weights.path}, which"
        instead = "Its kind may be unsupported, or the memory too small. Try another file."
    return f"{what} did not start ({describe_exit(code)}). {instead}\n{tail}"


def _serve(weights: Weights, host: str, port: int, threads: int) -> tuple[str, object]:
    """Load the model and listen. Returns the address, and the server, which ends when collected."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights.path)
    params.model_alias = {weights.name}
    params.hostnames = [host]
    params.port = port
    if key := os.environ.pop(_KEY_VARIABLE, ""):
        params.api_keys = [key]
    params.n_parallel = weights.slots
    params.n_ctx = weights.slots * weights.context_tokens
    params.n_predict = weights.max_tokens
    params.cont_batching = True
    # The default of llama.cpp caches up to 8 GiB of earlier prompts.
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.ui = False
    params.endpoint_metrics = True
    params.endpoint_slots = False  # the endpoint would show prompts
    params.verbosity = 1  # errors only; level 3 and above log prompts
    if weights.is_built_in:
        _keep_a_small_model_to_the_point(params)
    server = xllamacpp.Server(params)
    return server.listening_address.removeprefix("http://"), server


def _keep_a_small_model_to_the_point(params: Any) -> None:
    """Set what the built-in model answers best with; requests can set the sampling otherwise.

    With the defaults of llama.cpp, a model of this size repeats itself indefinitely. At higher
    temperatures it invents words and leaves the subject. The prompt in its file names the model
    instead of the task; with this one, it answers "Paris" when asked for the capital of France.
    """
    params.chat_template = _CHAT_TEMPLATE
    sampling = params.sampling
    sampling.temp = 0.1
    sampling.top_p = 0.9
    sampling.penalty_repeat = 1.05
    sampling.penalty_last_n = 256
    sampling.dry_multiplier = 0.8


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve a model file as an OpenAI-compatible API.")
    parser.add_argument("--host", default=_HOST)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--slots", type=int, help="concurrent answers")
    parser.add_argument("--weights", help="default: those of the settings")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--ready-fd", type=int, default=1, help="descriptor for the address")
    parser.add_argument("--parent", type=int, help="end when this process has ended")
    return parser.parse_args()


def _weights(encoded: str | None, slots: int | None) -> Weights:
    if encoded is not None:
        return msgspec.json.decode(encoded, type=Weights, dec_hook=lambda kind, text: kind(text))
    weights = find_weights(load_settings())
    return weights if slots is None else replace(weights, slots=slots)


def main() -> None:
    """Serve until killed, or until the parent ends. Reads the API key from the environment."""
    # A Python handler would run only after the C++ code releases the interpreter.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    options = _parse_arguments()
    try:
        weights = _weights(options.weights, options.slots)
        address, _server = _serve(weights, options.host, options.port, options.threads)
    except (LocalModelError, SettingsInvalid) as error:
        raise SystemExit(str(error)) from error
    with os.fdopen(options.ready_fd, "w") as ready:
        print(address, file=ready)
    # On Linux, the kernel also sends SIGTERM at once: see spawn.
    while options.parent in (None, os.getppid()):
        time.sleep(1)
    os._exit(0)  # does not wait for answers, because no reader is left


if __name__ == "__main__":
    main()
