"""The table of upstreams: what it may hold, and what is said about a wrong one."""

from pathlib import Path

import pytest

from tickertape.broker.errors import SettingsInvalid
from tickertape.worker.upstreams.reading import KeyedRow, read_table
from tickertape.worker.upstreams.table import parse_table

WHOLE = """
[[upstream]]
name = "main"
base_url = "https://llm.example/v1/"
key_env = "MAIN_KEY"
profile = "vllm"
models = ["large"]
weight = 3
order = 1
requests_per_minute = 500
tokens_per_minute = 200_000
concurrency = 32
context = 32768

[upstream.aliases]
fast = "small-2026"

[[upstream]]
name = "spare"
base_url = "http://127.0.0.1:8080/v1"
"""
FIRST = '[[upstream]]\nname = "a"\nbase_url = "https://a.example/v1"\n'
SECOND = '[[upstream]]\nname = "b"\nbase_url = "https://b.example/v1"\n'


def test_a_row_has_the_fields_of_the_table_and_defaults_for_the_others() -> None:
    main, spare = parse_table(WHOLE).rows
    assert (main.base_url, main.weight, main.concurrency) == ("https://llm.example/v1", 3, 32)
    assert main.names == ("large", "fast")
    assert [main.own_name(name) for name in ("fast", "large", None)] == [
        "small-2026", "large", "large",
    ]  # fmt: skip
    assert main.is_limited
    assert (spare.weight, spare.order, spare.names, spare.is_limited) == (1, 1, (), False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the table is empty: begin an upstream with [[upstream]]"),
        ("[[upstream]]\nname = a", "line 2: this is not TOML: Invalid value"),
        ('[[upstream]]\nname = "a', "line 2: this is not TOML: "),
        ('[upstream]\nname = "a"', "line 1: write [[upstream]] with two brackets on each side"),
        (f"{FIRST}\n[other]\nx = 1", "line 5: other is not known here: begin each upstream"),
        ('[[upstream]]\nname = "a"', "line 1, upstream 'a', base_url: the field is missing: add"),
        (
            f"{FIRST}{FIRST}weight = 2",
            "line 5, upstream 'a', name: line 2 has this name as well: choose another one",
        ),
        (
            f"{FIRST}{SECOND}\nweight = 0",
            "line 8, upstream 'b', weight: should be greater than 0",
        ),
        (f'{FIRST}order = "first"', "line 4, upstream 'a', order: should be a valid integer"),
        (f"{FIRST}wait = 2", "line 4, upstream 'a', wait: the field is not known: use name,"),
        (f'{FIRST}key = "sk-1"', "line 4, upstream 'a', key: name its variable in key_env"),
        (
            f'{FIRST}key_env = "A"\nkey_file = "a"',
            "line 5, upstream 'a', key_file: key_env and key_file are both set: keep one of them",
        ),
        (f'{FIRST}profile = "gpt"', "line 4, upstream 'a', profile: use one of vllm, llama.cpp,"),
        (
            '[[upstream]]\nname = "a"\nbase_url = "a.example"',
            "line 3, upstream 'a', base_url: use http://... or https://...",
        ),
        (
            '[[upstream]]\nname = "A B"\nbase_url = "http://a"',
            "line 2, upstream 'A B', name: use at most 64 of a-z, 0-9, dot, - and _",
        ),
        (
            f'{FIRST}models = [\n  "x",\n  3,\n]',
            "line 4, upstream 'a', models: 1 should be a valid string",
        ),
        (
            f"{FIRST}[upstream.aliases]\nfast = 3",
            "line 4, upstream 'a', aliases: fast should be a valid string",
        ),
        (
            f'{FIRST}key_env = "sk-proj-1"',
            "line 4, upstream 'a', key_env: name the variable that has the key, in letters,",
        ),
        (f"{FIRST}models = {'[' * 9999}", "line 4: this is not TOML: Lists are nested too deep"),
        (f"{FIRST}order = {'9' * 9999}", "line 4: this is not TOML: A number has too many digit"),
        (f"{FIRST}tokens_per_minute = 0", "line 4, upstream 'a', tokens_per_minute: should be"),
    ],
)
def test_an_error_in_the_table_is_said_with_its_line_its_field_and_what_to_do(
    text: str, said: str
) -> None:
    with pytest.raises(SettingsInvalid) as invalid:
        parse_table(text)
    assert str(invalid.value).startswith(said)
    assert "sk-" not in str(invalid.value)


def test_all_errors_of_a_table_are_said_at_once() -> None:
    text = f"{FIRST}weight = -1\n{SECOND}order = -1\ncontext = 1"
    with pytest.raises(SettingsInvalid) as invalid:
        parse_table(text)
    lines = str(invalid.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "line 4, upstream 'a', weight", "line 8, upstream 'b', order",
        "line 9, upstream 'b', context",
    ]  # fmt: skip


def read(path: Path, text: str, **variables: str) -> list[KeyedRow]:
    path.write_text(text)
    return read_table(path, variables)


def test_keys_come_from_variables_and_from_files_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "b.key").write_text("key-of-b\n")
    text = f'{FIRST}key_env = "A_KEY"\n{SECOND}key_file = "b.key"'
    first, second = read(tmp_path / "upstreams.toml", text, A_KEY="key-of-a")
    assert (first.key, second.key) == ("key-of-a", "key-of-b")
    assert "key-of" not in repr([first, second])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('key_env = "A_KEY"', "key_env: the variable A_KEY is not set: set it to the key"),
        ('key_file = "none"', "key_file: the file cannot be read: No such file or directory"),
        ('key_file = "two"', "key_file: a key is one word of ASCII characters"),
    ],
)
def test_a_key_that_is_missing_stops_the_start_without_showing_another(
    line: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "upstreams.toml"
    (tmp_path / "two").write_text("sk-secret sk-other")
    with pytest.raises(SettingsInvalid) as invalid:
        read(path, f"{FIRST}{line}")
    assert str(invalid.value).startswith(
        f"TICKERTAPE_UPSTREAMS is {str(path)!r}: line 4, upstream 'a', {said}"
    )
    assert "sk-" not in str(invalid.value)


def test_a_table_of_an_editor_that_marks_utf_8_is_read_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "upstreams.toml"
    path.write_text(f"{FIRST}weight = 0", encoding="utf-8-sig")
    with pytest.raises(SettingsInvalid, match="line 4, upstream 'a', weight: should be greater"):
        read_table(path, {})


def test_a_table_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="the file cannot be read: No such file"):
        read_table(tmp_path / "none.toml", {})
