import copy
import platform

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickertape.roles import Message, Role, RoleMessage, UnknownVariable, render

# Named characters, because to draw from all of Unicode a fresh checkout first builds tables, which
# takes seconds on a busy machine. No deadline for the same reason: what is slow there is not ours.
TEXT = st.text("aA0 \n\r\t#${}\\<>'\"`-_\x00\x85\u2028é你😀", max_size=20)
UNTIMED = settings(deadline=None)
MESSAGES: st.SearchStrategy[list[Message]] = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer"])},
        optional={
            "content": TEXT | st.none() | st.lists(st.fixed_dictionaries({"text": TEXT})),
            "name": TEXT,
            "tool_calls": st.lists(st.dictionaries(TEXT, TEXT), max_size=2),
        },
    ),
    max_size=5,
)
TEMPLATES = st.lists(
    st.builds(
        RoleMessage,
        st.sampled_from(["system", "user", "assistant"]),
        st.lists(st.sampled_from(["${A}", "${OS}", "$${A}", "$", "{A}", " "])).map("".join),
    )
)


def role(*contents: str, **variables: str) -> Role:
    return Role("demo", "", tuple(RoleMessage("system", c) for c in contents), {}, variables)


def rendered(content: str, given: dict[str, str] | None = None, **variables: str) -> object:
    [message] = render(role(content, **variables), [], given, os_name="TestOS")
    return message["content"]


@UNTIMED
@given(TEMPLATES, MESSAGES, TEXT)
def test_the_roles_messages_come_first_and_the_callers_are_left_as_they_were(
    templates: list[RoleMessage], messages: list[Message], value: str
) -> None:
    before = copy.deepcopy(messages)
    demo = Role("demo", "", tuple(templates), {}, {"A": ""})
    result = render(demo, messages, {"A": value}, os_name="TestOS")
    assert [said["role"] for said in result[: len(templates)]] == [said.role for said in templates]
    tail = result[len(templates) :]
    assert len(tail) == len(messages)
    assert all(mine is theirs for mine, theirs in zip(tail, messages, strict=True))
    assert messages == before


@UNTIMED
@given(MESSAGES)
def test_without_a_role_the_callers_messages_are_all_there_is(messages: list[Message]) -> None:
    result = render(None, messages)
    assert result == messages
    assert result is not messages


def test_changing_what_was_rendered_changes_neither_the_role_nor_the_callers_list() -> None:
    demo, messages = role("be brief"), [{"role": "user", "content": "hi"}]
    result = render(demo, messages)
    result[0]["content"] = "be long"
    result.clear()
    assert render(demo, messages) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
    ]


def test_os_is_the_platform_given_or_else_the_one_this_runs_on() -> None:
    demo = role("for ${OS}")
    assert render(demo, [], os_name="Plan 9")[0]["content"] == "for Plan 9"
    assert render(demo, [])[0]["content"] == f"for {platform.system()}"


def test_a_variable_has_its_default_unless_the_caller_sets_it() -> None:
    assert rendered("${A}-${B}", {"B": "b"}, A="1", B="2") == "1-b"


def test_every_occurrence_is_replaced() -> None:
    assert rendered("${A}${A} ${OS}\n${A}", A="x") == "xx TestOS\nx"


@UNTIMED
@given(TEXT)
def test_a_value_is_inserted_verbatim_and_never_expanded(value: str) -> None:
    for sent in (value, "${B}" + value, "$${A}", "\\1\\g<0>", "\n# USER\n"):
        assert rendered("[${A}]", {"A": sent}, A="", B="b") == f"[{sent}]"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("$${A}", "${A}"),
        ("$${HOME}/x", "${HOME}/x"),
        ("$$${A}", "$${A}"),
        ("$$ $ $A $(A) {A}", "$$ $ $A $(A) {A}"),
    ],
)
def test_two_dollars_before_a_brace_write_one_and_other_dollars_are_text(
    content: str, shown: str
) -> None:
    assert rendered(content, A="x") == shown


@pytest.mark.parametrize("name", ["B", "OS", "a", ""])
def test_setting_a_variable_that_the_role_does_not_declare_is_an_error(name: str) -> None:
    with pytest.raises(UnknownVariable) as caught:
        rendered("${OS}", {name: "the-value"}, Z="", A="")
    assert caught.value.name == name
    assert caught.value.known == ["A", "Z"]
    assert str(caught.value) == f"role 'demo' has no variable {name!r}; it has: A, Z"


def test_messages_without_text_content_pass_through_untouched() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "${A}"}], "x": 1}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}
    assert render(role("${A}", A="a"), [parts, call])[1:] == [parts, call]
