"""Prompt files: head and text, the hash, and errors that name the file and a valid example."""

from __future__ import annotations

from pathlib import Path

import pytest

from qr_env.common.errors import ConfigError
from qr_env.common.prompt_files import read_prompt


def kind(head, body):
    return head["kind"], body


def test_head_and_text_by_name_and_by_path(tmp_path: Path) -> None:
    file = tmp_path / "own.md"
    file.write_text("---\nkind: list\n---\nHello\n---\nno head\n")
    by_name, by_path = read_prompt("own", tmp_path, "own.md", kind), read_prompt(file, Path("/nowhere"), "", kind)
    assert by_name == by_path == (file, by_name[1], ("list", "Hello\n---\nno head\n"))


def test_the_hash_is_of_every_byte(tmp_path: Path) -> None:
    file, digests = tmp_path / "own.md", set()
    for text in ("---\nkind: list\n---\nHello", "---\nkind: list\n---\nHello\n", "---\nkind: lists\n---\nHello"):
        file.write_text(text)
        digests.add(read_prompt(file, tmp_path, "own.md", kind)[1])
    assert len(digests) == 3 and all(len(digest) == 12 for digest in digests)


def test_an_unknown_prompt_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "grade.md").write_text("")
    with pytest.raises(ConfigError, match="'grad'; choose one of grade, or give the path"):
        read_prompt("grad", tmp_path, "grade.md", kind)


@pytest.mark.parametrize(
    "text", ["no head at all", "---\nkind: [\n---\ntext", "---\nother: 1\n---\ntext", "---\n- a list\n---\ntext"]
)
def test_an_invalid_file_is_named_with_an_example(tmp_path: Path, text: str) -> None:
    file = tmp_path / "own.md"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"{file}: .*see {tmp_path.parent.name}/{tmp_path.name}/grade_v2.md"):
        read_prompt(file, tmp_path, "grade_v2.md", kind)
