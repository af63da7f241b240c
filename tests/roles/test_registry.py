import json

import pytest

from tickertape.roles import Role, RoleMessage, RoleNotFound, Roles

SQL = Role(
    "sql",
    "Words into SQL",
    (RoleMessage("system", "Write ${DIALECT}."), RoleMessage("user", "hi")),
    {"temperature": 0.0},
    {"DIALECT": "PostgreSQL"},
)
CLI = Role("cli", "", (RoleMessage("system", "x"),), {}, {})


def test_roles_are_listed_in_order_of_their_names() -> None:
    roles = Roles([SQL, CLI])
    assert roles.names == ["cli", "sql"]
    assert list(roles) == [CLI, SQL]
    assert len(roles) == 2


def test_a_role_is_found_by_its_exact_name() -> None:
    assert Roles([SQL, CLI]).get("sql") is SQL


@pytest.mark.parametrize("name", ["SQL", " sql", "", "default", "../sql"])
def test_a_name_that_no_role_has_is_refused_with_the_names_that_exist(name: str) -> None:
    with pytest.raises(RoleNotFound) as caught:
        Roles([SQL, CLI]).get(name)
    assert caught.value.name == name
    assert caught.value.known == ["cli", "sql"]
    assert str(caught.value) == f"no role is named {name!r}; there are: cli, sql"


def test_without_roles_the_error_says_that_there_are_none() -> None:
    with pytest.raises(RoleNotFound, match="there are: none"):
        Roles([]).get("sql")


def test_an_error_quotes_a_limited_part_of_the_callers_text_and_escapes_it() -> None:
    with pytest.raises(RoleNotFound) as caught:
        Roles([SQL]).get("\x1b[2J\n" + "x" * 10_000)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [None, "", "default"])
def test_no_name_the_empty_name_and_default_choose_no_template(name: str | None) -> None:
    assert Roles([SQL]).choose(name) is None


def test_any_other_name_chooses_that_role_or_is_refused() -> None:
    assert Roles([SQL]).choose("sql") is SQL
    with pytest.raises(RoleNotFound):
        Roles([SQL]).choose("none")


def test_a_roles_views_are_json_and_only_the_detail_has_the_messages() -> None:
    summary = {
        "name": "sql",
        "description": "Words into SQL",
        "model_defaults": {"temperature": 0.0},
        "variables": {"DIALECT": "PostgreSQL"},
    }
    messages = [
        {"role": "system", "content": "Write ${DIALECT}."},
        {"role": "user", "content": "hi"},
    ]
    assert json.loads(json.dumps(SQL.summary())) == summary
    assert json.loads(json.dumps(SQL.detail())) == {**summary, "messages": messages}


def test_changing_a_view_does_not_change_the_role() -> None:
    for view in (SQL.summary(), SQL.detail()):
        view["variables"].clear()
        view["model_defaults"].clear()
    assert SQL.variables == {"DIALECT": "PostgreSQL"}
    assert SQL.model_defaults == {"temperature": 0.0}
