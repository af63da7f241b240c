import os
from pathlib import Path

import pytest

from tickertape.roles import RolesInvalid, load_roles
from tickertape.roles.parse import MAX_FILE_BYTES


def write(directory: Path, **texts: str) -> None:
    for stem, text in texts.items():
        (directory / f"{stem}.md").write_text(text, encoding="utf-8")


def problems(directory: Path, **limits: int) -> list[str]:
    with pytest.raises(RolesInvalid) as caught:
        load_roles(directory, **limits)
    return [str(problem).removeprefix(str(directory)) for problem in caught.value.problems]


def test_every_markdown_file_of_the_directory_becomes_a_role(tmp_path: Path) -> None:
    write(tmp_path, b="# USER\nb", a="---\nname: z\n---\n# USER\nz")
    (tmp_path / "c.MD").write_text("# USER\nc")
    assert load_roles(tmp_path).names == ["b", "c", "z"]


def test_hidden_files_other_files_and_subdirectories_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, good="# USER\nhi")
    for stray in (".good.md", ".md", "good.md~", "notes.txt", "md"):
        (tmp_path / stray).write_text("not a role")
    (tmp_path / "folder.md").mkdir()
    write(tmp_path / "folder.md", inner="not a role")
    assert load_roles(tmp_path).names == ["good"]


def test_a_named_pipe_called_like_a_role_does_not_block_the_start(tmp_path: Path) -> None:
    write(tmp_path, good="# USER\nhi")
    os.mkfifo(tmp_path / "pipe.md")
    assert load_roles(tmp_path).names == ["good"]


def test_files_that_are_links_are_read_as_mounted_configuration_has_them(tmp_path: Path) -> None:
    revision = tmp_path / "..2026_01"
    revision.mkdir()
    write(revision, good="# USER\nhi")
    (tmp_path / "..data").symlink_to(revision)
    (tmp_path / "good.md").symlink_to(tmp_path / "..data" / "good.md")
    assert load_roles(tmp_path).names == ["good"]


def test_problems_of_all_files_come_together_each_with_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, a="---\ntemperature: 9\n---\n# USER\n", b="# USER\nfine", c="stray\n# USER\nhi")
    (tmp_path / "d.md").write_bytes(b"\xff")
    (tmp_path / "e.md").write_bytes(b"x" * (MAX_FILE_BYTES * 2))
    places = [problem.split(": ")[0] for problem in problems(tmp_path)]
    assert places == ["/a.md:2", "/a.md:4", "/c.md:1", "/d.md:1", "/e.md"]


def test_two_files_with_one_name_are_reported_at_the_later_one(tmp_path: Path) -> None:
    write(tmp_path, a="---\nname: sql\n---\n# USER\na", sql="# USER\nb")
    assert problems(tmp_path) == [f"/sql.md:1: the name 'sql' is taken by {tmp_path / 'a.md'}"]


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "gone") == [": cannot be read: No such file or directory"]


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    write(tmp_path, a="# USER\nhi")
    assert problems(tmp_path / "a.md") == [": cannot be read: Not a directory"]


def test_a_file_that_cannot_be_read_is_named_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A mode of 000 does not stop root, whom containers run tests as; the error itself does.
    write(tmp_path, a="stray", b="# USER\nhi")
    real_open = Path.open

    def refuse_b(path: Path, *args: str) -> object:
        if path.name == "b.md":
            raise PermissionError(13, "Permission denied")
        return real_open(path, *args)  # type: ignore[call-overload]  # any mode, as it was asked for

    monkeypatch.setattr(Path, "open", refuse_b)
    found = problems(tmp_path)
    assert found[0].startswith("/a.md:1: text before the first heading")
    assert found[-1] == "/b.md: cannot be read: Permission denied"


def test_a_directory_without_a_role_file_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    (tmp_path / "sql.txt").write_text("# USER\nhi")
    assert problems(tmp_path) == [": no role file (*.md) in this directory"]


def test_a_directory_with_too_many_files_is_refused_before_they_are_read(
    tmp_path: Path,
) -> None:
    write(tmp_path, a="# USER\na", b="# USER\nb")
    assert len(load_roles(tmp_path, max_files=2)) == 2
    write(tmp_path, c="stray")
    assert problems(tmp_path, max_files=2) == [": more than 2 role files"]
