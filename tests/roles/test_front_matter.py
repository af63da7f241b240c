import pytest

from tickertape.roles.front_matter import FrontMatter, read_front_matter


def read(text: str) -> tuple[FrontMatter, list[tuple[int, str]]]:
    reports: list[tuple[int, str]] = []
    front, _ = read_front_matter(text.split("\n"), lambda line, said: reports.append((line, said)))
    return front, reports


def no_report(line: int, said: str) -> None:
    pytest.fail(f"line {line}: {said}")


def test_every_key_is_converted_to_its_type() -> None:
    front, reports = read(
        "---\nname: sql\ndescription: Words: into SQL\nmodel: org/small:free\n"
        "temperature: 0.5\ntop_p: 1\nmax_tokens: 512\n---"
    )
    assert reports == []
    assert front.values == {
        "name": "sql",
        "description": "Words: into SQL",
        "model": "org/small:free",
        "temperature": 0.5,
        "top_p": 1.0,
        "max_tokens": 512,
    }
    assert isinstance(front.values["top_p"], float)


def test_a_file_without_the_block_loses_no_line_to_it() -> None:
    assert read_front_matter(["# USER", "---", "---"], no_report) == (FrontMatter(), 0)


def test_the_block_ends_at_its_second_delimiter_and_not_at_a_later_one() -> None:
    lines = ["---", "name: a", "---", "# USER", "---"]
    front, length = read_front_matter(lines, no_report)
    assert (front.values, length) == ({"name": "a"}, 3)


def test_blank_lines_and_comment_lines_mean_nothing() -> None:
    front, reports = read("---\n\n# why: because\nvariables:\n  # note\n  A: 1\n\n  B: 2\n---")
    assert (front.variables, reports) == ({"A": "1", "B": "2"}, [])


def test_variables_may_come_before_other_keys() -> None:
    front, reports = read("---\nvariables:\n\tA: 1\nname: x\n---")
    assert (front.variables, front.values, reports) == ({"A": "1"}, {"name": "x"}, [])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"a: b"', "a: b"),
        ("'a b'", "a b"),
        ('""', ""),
        ("", ""),
        ('"', '"'),
        ('"a" and "b"', '"a" and "b"'),
        ("it's", "it's"),
        ("'half", "'half"),
        ("x # not a comment", "x # not a comment"),
    ],
)
def test_one_pair_of_quotes_around_a_value_is_removed(written: str, meant: str) -> None:
    front, reports = read(f"---\nvariables:\n  A: {written}\n---")
    assert (front.variables, reports) == ({"A": meant}, [])


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("temperature", "2.1", "a number from 0 to 2"),
        ("temperature", "-0.1", "a number from 0 to 2"),
        ("temperature", "nan", "a number from 0 to 2"),
        ("temperature", "inf", "a number from 0 to 2"),
        ("temperature", "warm", "a number from 0 to 2"),
        ("temperature", "", "a number from 0 to 2"),
        ("temperature", "0 # cold", "a number from 0 to 2"),
        ("top_p", "1.01", "a number from 0 to 1"),
        ("max_tokens", "0", "a whole number from 1"),
        ("max_tokens", "1.5", "a whole number from 1"),
        ("max_tokens", "9" * 30, "a whole number from 1"),
        ("model", "", "1 to 200 characters"),
        ("model", "m" * 201, "1 to 200 characters"),
        ("description", "d" * 301, "at most 300 characters"),
        ("name", "", "a-z, 0-9"),
        ("name", "My Role", "a-z, 0-9"),
        ("name", "-x", "a-z, 0-9"),
        ("name", "a/b", "a-z, 0-9"),
        ("name", "n" * 65, "a-z, 0-9"),
        ("name", "default", "not default"),
    ],
)
def test_a_value_out_of_bounds_is_reported_with_its_line_and_what_is_allowed(
    key: str, value: str, allowed: str
) -> None:
    front, reports = read(f"---\n\n{key}: {value}\n---")
    [(line, said)] = reports
    assert line == 3
    assert said.startswith(f"{key} is '")
    assert allowed in said
    assert len(said) < 250
    assert front.values == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", "0"),
        ("temperature", "2"),
        ("top_p", "0"),
        ("max_tokens", "1"),
        ("max_tokens", "10000000"),
        ("name", "n" * 64),
        ("name", "default-2"),
        ("name", "0_o"),
        ("description", ""),
        ("description", "说" * 300),
    ],
)
def test_a_value_at_its_bound_is_accepted(key: str, value: str) -> None:
    front, reports = read(f"---\n{key}: {value}\n---")
    assert reports == []
    assert str(front.values[key]).removesuffix(".0") == value


@pytest.mark.parametrize(
    ("block", "line", "words"),
    [
        ("temp: 1", 2, "unknown key 'temp'; known: name, description, model,"),
        ("name: a\nmodel: b\nname: c", 4, "'name' is set twice, first on line 2"),
        ("just words", 2, "must read `key: value`"),
        ("name: a\n  A: 1", 3, "belongs under `variables:`"),
        ("  A: 1", 2, "belongs under `variables:`"),
        ("variables:\n  A: 1\nname: a\n  B: 2", 5, "belongs under `variables:`"),
        ("variables: A", 2, "put variables below"),
        ("variables:\n  dialect: x", 3, "A-Z, 0-9 and _"),
        ("variables:\n  1A: x", 3, "A-Z, 0-9 and _"),
        ("variables:\n  A: 1\n  A: 2", 4, "variable A is declared twice"),
        ("variables:\n  OS: Plan 9", 3, "OS cannot be declared"),
    ],
)
def test_a_wrong_line_is_reported_by_its_number(block: str, line: int, words: str) -> None:
    _, reports = read(f"---\n{block}\n---")
    [(reported, said)] = reports
    assert reported == line
    assert words in said


def test_a_block_that_is_never_closed_is_reported_where_it_opens() -> None:
    _, reports = read("---\nname: a\n# USER\nhello")
    assert reports == [(1, "the front matter is not closed by a second --- line")]
