"""TICKERTAPE_LOCAL_MODEL: what is read from a model file, and the errors for wrong ones."""

import importlib.util
import struct
from pathlib import Path

import pytest

from tests.support.given_settings import GivenSettings
from tickertape.cli.up.gguf import GgufInfo, GgufInvalid, read_gguf
from tickertape.cli.up.model_weights import LocalModelError, Weights, find_weights

Field = tuple[str, int | str | list[str]]

CHAT: tuple[Field, ...] = (
    ("general.architecture", "qwen2"),
    ("tokenizer.ggml.tokens", ["a", "bc"]),
    ("qwen2.context_length", 32768),
    ("tokenizer.chat_template", "{{ messages }}"),
)

needs_the_wheel = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None,
    reason="there is no xllamacpp wheel for this platform, or the 'local' extra is missing",
)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def encoded(value: int | str | list[str]) -> bytes:
    match value:
        case str():
            return struct.pack("<I", 8) + text(value)
        case int():
            return struct.pack("<II", 4, value)
        case list():
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))


def write(path: Path, *fields: Field, version: int = 3) -> Path:
    """A model file without weights."""
    head = b"GGUF" + struct.pack("<IQQ", version, 0, len(fields))
    path.write_bytes(head + b"".join(text(name) + encoded(value) for name, value in fields))
    return path


def given(path: Path) -> Weights:
    return find_weights(GivenSettings(local_model=path))


def test_the_context_and_the_chat_template_are_read(tmp_path: Path) -> None:
    assert read_gguf(write(tmp_path / "m.gguf", *CHAT)) == GgufInfo("qwen2", 32768, True)
    base = write(tmp_path / "b.gguf", *CHAT[:1])
    assert read_gguf(base) == GgufInfo("qwen2", None, False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ((("general.type", "mmproj"), *CHAT), "not a language model"),
        ((("general.architecture", "clip"),), "not a language model"),
        ((), "not a language model"),
    ],
)
def test_a_file_that_is_no_language_model_is_refused(
    tmp_path: Path, fields: tuple[Field, ...], words: str
) -> None:
    with pytest.raises(GgufInvalid, match=words):
        read_gguf(write(tmp_path / "m.gguf", *fields))


def test_a_file_that_ends_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "m.gguf", *CHAT).read_bytes()
    part = tmp_path / "part.gguf"
    for length in range(len(whole)):
        part.write_bytes(whole[:length])
        with pytest.raises(GgufInvalid):
            read_gguf(part)


@pytest.mark.parametrize("number", [2**63, 2**40])
def test_a_number_that_no_file_has_costs_neither_memory_nor_time(
    tmp_path: Path, number: int
) -> None:
    path = tmp_path / "m.gguf"
    head = b"GGUF" + struct.pack("<IQ", 3, 0)
    array = text("a") + struct.pack("<IIQ", 9, 8, number)
    for data in (struct.pack("<Q", number), struct.pack("<QQ", 1, number)):
        path.write_bytes(head + data)
        with pytest.raises(GgufInvalid, match="damaged"):
            read_gguf(path)
    path.write_bytes(head + struct.pack("<Q", 1) + array)
    with pytest.raises(GgufInvalid, match="damaged"):
        read_gguf(path)


def test_another_version_of_the_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(GgufInvalid, match="version is 1"):
        read_gguf(write(tmp_path / "m.gguf", *CHAT, version=1))


@needs_the_wheel
def test_the_name_and_the_context_come_from_the_file(tmp_path: Path) -> None:
    weights = given(write(tmp_path / "Qwen2.5-0.5B-Instruct-Q4_K_M-00001-of-00002.gguf", *CHAT))
    assert weights.name == "qwen2.5-0.5b-instruct-q4_k_m"
    assert (weights.context_tokens, weights.slots, weights.is_built_in) == (4096, 4, False)
    small = write(tmp_path / "s.gguf", *CHAT[:2], ("qwen2.context_length", 512))
    assert given(small).context_tokens == 512


@needs_the_wheel
def test_slots_and_context_can_be_set(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", *CHAT)
    weights = find_weights(
        GivenSettings(local_model=path, local_model_slots=2, local_model_context=16384)
    )
    assert (weights.slots, weights.context_tokens) == (2, 16384)


@needs_the_wheel
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"<html>", "not a GGUF file"),
        (b"GGUF\x03", "damaged, or not completely downloaded"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_setting_and_the_file(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LocalModelError, match=words) as refused:
        given(path)
    assert str(refused.value).startswith(f"TICKERTAPE_LOCAL_MODEL is {path}: ")


@needs_the_wheel
def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match="Is a directory"):
        given(tmp_path)
