import re

import pytest

from tickertape.roles import Role, Roles, load_roles, render

SHIPPED = load_roles()


def spoken(role: Role) -> list[str]:
    return [said.role for said in role.messages]


def test_the_shipped_roles_are_these() -> None:
    assert SHIPPED.names == [
        "cli",
        "ikun",
        "reviewer",
        "rubber-duck",
        "sql",
        "summarizer",
        "teacher",
        "translator",
    ]


def test_loading_twice_gives_the_same_roles() -> None:
    again: Roles = load_roles()
    assert list(again) == list(SHIPPED)


@pytest.mark.parametrize("role", list(SHIPPED), ids=SHIPPED.names)
def test_a_shipped_role_has_a_description_and_starts_with_one_system_message(role: Role) -> None:
    assert 10 <= len(role.description) <= 100
    assert spoken(role)[0] == "system"
    assert spoken(role)[1:] == ["user", "assistant"] * (len(role.messages) // 2)


@pytest.mark.parametrize("role", list(SHIPPED), ids=SHIPPED.names)
def test_a_shipped_role_sets_no_model_parameter_that_some_models_refuse(role: Role) -> None:
    # Reasoning models answer 400 to a temperature: a role that sets one would always fail there.
    assert role.model_defaults == {}


@pytest.mark.parametrize("role", list(SHIPPED), ids=SHIPPED.names)
def test_a_shipped_role_uses_every_variable_it_declares(role: Role) -> None:
    text = "".join(said.content for said in role.messages)
    assert set(re.findall(r"\$\{(\w+)\}", text)) - {"OS"} == set(role.variables)


def test_ikun_is_a_system_message_and_seven_pairs_in_chinese() -> None:
    ikun = SHIPPED.get("ikun")
    assert spoken(ikun) == ["system", *["user", "assistant"] * 7]
    assert all(re.search(r"[\u4e00-\u9fff]", said.content) for said in ikun.messages)
    for word in ("两年半", "练习生", "唱", "跳", "rap", "篮球"):
        assert word in ikun.messages[0].content


@pytest.mark.parametrize("name", ["cli", "sql"])
def test_the_examples_of_command_roles_keep_their_own_rules(name: str) -> None:
    answers = [said.content for said in SHIPPED.get(name).messages if said.role == "assistant"]
    lines = [line for answer in answers for line in answer.splitlines()]
    assert all(line.startswith("> ") or line in {"UNKNOWN", "DANGEROUS"} for line in lines)
    assert "UNKNOWN" in answers
    assert any(answer.startswith("DANGEROUS\n> ") for answer in answers)


def test_cli_writes_for_the_platform_it_is_given() -> None:
    system = render(SHIPPED.get("cli"), [], os_name="Haiku")[0]["content"]
    assert "shell commands for Haiku" in system
    assert "${" not in system


def test_sql_writes_the_dialect_of_its_variable_and_has_a_default() -> None:
    sql = SHIPPED.get("sql")
    assert "PostgreSQL statements" in render(sql, [])[0]["content"]
    assert "SQLite statements" in render(sql, [], {"DIALECT": "SQLite"})[0]["content"]
