from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickertape.roles import Role, RoleMessage, RoleProblem, RolesInvalid
from tickertape.roles.parse import MAX_FILE_BYTES, parse_role

NONE_TAKEN = MappingProxyType[str, str]({})


def parse(text: str, file: str = "roles.d/demo.md") -> Role:
    return parse_role(file, text.encode(), NONE_TAKEN)


def problems(data: str | bytes, file: str = "demo.md") -> list[str]:
    raw = data.encode() if isinstance(data, str) else data
    with pytest.raises(RolesInvalid) as caught:
        parse_role(file, raw, NONE_TAKEN)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_headings_cut_the_text_into_trimmed_messages_in_order() -> None:
    role = parse("# SYSTEM\n\n Be brief. \n\nVery.\n\n# USER\nhi\n# ASSISTANT  \nyo\n# USER\nbye")
    assert role.messages == (
        RoleMessage("system", "Be brief. \n\nVery."),
        RoleMessage("user", "hi"),
        RoleMessage("assistant", "yo"),
        RoleMessage("user", "bye"),
    )


def test_a_file_of_messages_alone_is_a_role_named_after_it() -> None:
    role = parse("# USER\nhi")
    assert role == Role("demo", "", (RoleMessage("user", "hi"),), {}, {})


def test_front_matter_gives_name_description_model_defaults_and_variables() -> None:
    role = parse(
        "---\nname: sql\ndescription: d\ntemperature: 0\nvariables:\n  A: 1\n---\n# USER\n${A}"
    )
    assert role == Role(
        "sql", "d", (RoleMessage("user", "${A}"),), {"temperature": 0.0}, {"A": "1"}
    )


def test_a_name_in_the_front_matter_excuses_a_file_name_that_could_be_none() -> None:
    assert parse("---\nname: fine\n---\n# USER\nhi", "My Role.md").name == "fine"


def test_a_file_name_that_cannot_be_a_role_name_is_reported() -> None:
    [problem] = problems("# USER\nhi", "My Role.md")
    assert problem.startswith("My Role.md:1: name is 'My Role'; allowed: 1 to 64 of a-z")


def test_a_wrong_name_is_reported_once() -> None:
    [problem] = problems("---\nname: No Good\n---\n# USER\nhi", "Neither This.md")
    assert problem.startswith("Neither This.md:2: name is 'No Good'")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_the_platform_that_wrote_the_file_does_not_show(ending: str) -> None:
    text = ending.join(["\ufeff---", "description: d", "---", "# SYSTEM", "one", "two", ""])
    role = parse(text)
    assert role.description == "d"
    assert role.messages == (RoleMessage("system", "one\ntwo"),)


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_unusual_separators_in_a_text_do_not_end_a_line(separator: str) -> None:
    assert parse(f"# USER\na{separator}# SYSTEM").messages == (
        RoleMessage("user", f"a{separator}# SYSTEM"),
    )


@pytest.mark.parametrize(
    "line",
    ["## USER", "### SYSTEM", "#hashtag", "#systematic", "    # USER", "say # USER", "\\# USER"],
)
def test_lines_that_are_not_level_one_headings_are_content(line: str) -> None:
    assert parse(f"# USER\n{line}\nx").messages[0].content == f"{line}\nx".strip()


@pytest.mark.parametrize(
    "line",
    ["# SYSTEMS", "# user", "#USER", "#Assistant", " # USER", "#  USER", "#\tUSER", "#", "# Title"],
)
def test_an_unknown_heading_is_reported(line: str) -> None:
    [problem] = problems(f"# SYSTEM\nfirst\n{line}\nsecond")
    assert problem.startswith(
        "demo.md:3: a heading of level one must be # SYSTEM, # USER, # ASSISTANT;"
    )


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("```sh", "```"), ("~~~", "~~~~"), ("````", "````"), ("  ```", " ```  ")],
)
def test_lines_in_a_code_fence_are_never_headings(opening: str, closing: str) -> None:
    shown = f"x\n{opening}\n# USER\n# a comment\n{closing}\ny"
    role = parse(f"# SYSTEM\n{shown}\n# USER\nhi")
    assert role.messages == (RoleMessage("system", shown), RoleMessage("user", "hi"))


@pytest.mark.parametrize("inner", ["~~~", "```", "````sh", "text"])
def test_only_a_matching_marker_closes_a_code_fence(inner: str) -> None:
    shown = f"````\n{inner}\n# USER\n````"
    assert parse(f"# SYSTEM\n{shown}").messages == (RoleMessage("system", shown),)


def test_inline_code_with_three_backticks_opens_no_fence() -> None:
    assert len(parse("# SYSTEM\n```x```\n# USER\nhi").messages) == 2


def test_a_code_fence_that_is_never_closed_is_reported_where_it_opens() -> None:
    assert problems("# SYSTEM\na\n```\nb\n```\n```sh\n# USER\nhi") == [
        "demo.md:6: this code fence is not closed"
    ]


def test_text_before_the_first_heading_is_reported_once_at_its_first_line() -> None:
    [problem] = problems("\n\nHello\nthere\n# USER\nhi")
    assert problem.startswith("demo.md:3: text before the first heading")


def test_text_between_front_matter_and_first_heading_is_reported_too() -> None:
    [problem] = problems("---\nname: a\n---\nHello\n# USER\nhi")
    assert problem.startswith("demo.md:4: text before the first heading")


@pytest.mark.parametrize("text", ["# USER", "# USER\n \n\t", "# USER\n\n# SYSTEM\nx"])
def test_a_heading_with_nothing_under_it_is_reported(text: str) -> None:
    assert problems(text) == ["demo.md:1: empty message: there is no text under this heading"]


@pytest.mark.parametrize(
    ("text", "line"), [("", 1), ("\n\n", 3), ("---\nname: a\n---\n", 4), ("\ufeff", 1)]
)
def test_a_file_without_messages_is_reported(text: str, line: int) -> None:
    [problem] = problems(text)
    assert problem.startswith(f"demo.md:{line}: no message")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"# USER\nhi \xff", 2),
        (b"\xef\xbb\xbf# USER\r\n\r\n\xc3", 3),
        ("# USER\n你好".encode("gb18030"), 2),
        ("# USER\nhi".encode("utf-16"), 1),
    ],
)
def test_bytes_that_are_not_utf_8_are_reported_by_line(data: bytes, line: int) -> None:
    assert problems(data) == [f"demo.md:{line}: not UTF-8"]


def test_a_file_may_be_as_large_as_the_limit_and_not_one_byte_larger() -> None:
    text = b"# USER\n"
    full = text + b"x" * (MAX_FILE_BYTES - len(text))
    assert len(parse_role("demo.md", full, NONE_TAKEN).messages[0].content) == MAX_FILE_BYTES - 7
    assert problems(full + b"x") == [f"demo.md: larger than {MAX_FILE_BYTES} bytes"]


def test_an_unknown_variable_is_reported_with_its_line_and_name() -> None:
    [problem] = problems("---\nvariables:\n  A: 1\n---\n# USER\n${A} ${OS}\nfor ${DIALECT}")
    assert problem.startswith("demo.md:7: unknown variable 'DIALECT'")
    assert "$${" in problem


@pytest.mark.parametrize("wrong", ["${", "${}", "${A", "${A:-1}", "${ A }", "$$$${A} ${"])
def test_a_dollar_and_brace_that_is_no_variable_is_reported(wrong: str) -> None:
    [problem] = problems(f"---\nvariables:\n  A: 1\n---\n# USER\n{wrong}")
    assert problem.startswith("demo.md:6: not a variable after ${")


@pytest.mark.parametrize("text", ["$", "$$", "$5", "$HOME", "$(date)", "{OS}", "$${HOME}", "$${"])
def test_other_dollars_are_text(text: str) -> None:
    assert parse(f"# USER\n{text}").messages[0].content == text


def test_a_duplicate_name_is_reported_with_the_file_that_has_it() -> None:
    with pytest.raises(RolesInvalid, match=r"b\.md:2: the name 'sql' is taken by a\.md"):
        parse_role("b.md", b"---\nname: sql\n---\n# USER\nhi", {"sql": "a.md"})


def test_all_problems_of_a_file_come_together_in_order_of_their_lines() -> None:
    text = "---\ntemperature: 3\ncolour: x\n---\nstray\n# USER\n${X} and ${Y}\n# Oops\nz\n# SYSTEM"
    lines = [problem.split(":")[1] for problem in problems(text)]
    assert lines == ["2", "3", "5", "7", "7", "8", "10"]


def test_problems_never_show_the_text_of_a_message() -> None:
    secret = "the-launch-code"
    text = f"{secret}\n# {secret}\n# USER\n```{secret}\n${{}} {secret}"
    assert len(problems(text)) >= 4
    assert secret not in "".join(problems(text))


# Named characters and no deadline: to draw from all of Unicode, Hypothesis first builds tables in a
# fresh checkout, which takes seconds on a busy machine.
UNTIMED = settings(deadline=None)
FRAGMENTS = st.sampled_from(
    ["---", "\n", "# SYSTEM", "# USER", "#", "```", "~~~", "${", "}", "$", "OS", "name", ": ", "  ",
     "variables:", "A", "temperature: 1", "\ufeff", "\u2028", "\r", "'", '"', "text"]
)  # fmt: skip


@UNTIMED
@given(st.lists(FRAGMENTS, max_size=40).map("".join).map(str.encode) | st.binary())
def test_any_bytes_are_either_a_valid_role_or_invalid(data: bytes) -> None:
    messages: tuple[RoleMessage, ...] = ()
    found: tuple[RoleProblem, ...] = ()
    try:
        messages = parse_role("demo.md", data, NONE_TAKEN).messages
    except RolesInvalid as invalid:
        found = invalid.problems
    line_count = data.count(b"\n") + data.count(b"\r") + 1
    assert bool(messages) != bool(found)
    assert all(problem.line in range(1, line_count + 1) for problem in found)
    assert all(said.content and said.content == said.content.strip() for said in messages)


CONTENT = st.text("aA0 \n\t{}\\<>'\"-_:\x00\x0b\x1c\x85\u2028\u3000\ufeffé你😀", min_size=1)
MESSAGES = st.builds(
    RoleMessage,
    st.sampled_from(["system", "user", "assistant"]),
    CONTENT.map(str.strip).filter(bool),
)


@UNTIMED
@given(st.lists(MESSAGES, min_size=1))
def test_messages_written_as_headings_and_text_are_read_back_as_they_were(
    messages: list[RoleMessage],
) -> None:
    text = "\n".join(f"# {said.role.upper()}\n{said.content}" for said in messages)
    assert parse(text).messages == tuple(messages)
