"""Atomic files and folders: an error or a kill leaves the old version or the new one, and no temporary files."""

from __future__ import annotations

from pathlib import Path

import pytest

from qr_env.common.atomic_io import (
    atomic_cache_folder,
    atomic_folder,
    atomic_write,
    current_version,
    recover,
    recover_all,
    saving,
)
from qr_env.common.errors import RunFolderError

FOLDERS = [atomic_folder, atomic_cache_folder]


def write_version(writer, target: Path, text: str) -> None:  # type: ignore[no-untyped-def]
    with writer(target) as temporary:
        (temporary / "file").write_text(text)


def test_a_file_is_replaced(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a.json", "é")
    atomic_write(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("writer", FOLDERS)
def test_a_folder_is_replaced(tmp_path: Path, writer) -> None:  # type: ignore[no-untyped-def]
    for text in ("old", "new"):
        write_version(writer, tmp_path / "sub" / "best", text)
    assert (tmp_path / "sub" / "best" / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["best"]


@pytest.mark.parametrize("writer", FOLDERS)
def test_an_error_keeps_the_old_folder(tmp_path: Path, writer) -> None:  # type: ignore[no-untyped-def]
    write_version(writer, tmp_path / "best", "old")
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "best") as temporary:
        (temporary / "file").write_text("new")
        raise ZeroDivisionError
    assert (tmp_path / "best" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_after_a_kill_between_the_renames_the_old_folder_is_found_and_recovered(tmp_path: Path) -> None:
    target = tmp_path / "best"
    write_version(atomic_folder, target, "old")
    target.rename(tmp_path / ".best.old")  # the state after a kill
    assert current_version(target) == tmp_path / ".best.old"
    recover_all(tmp_path)
    assert current_version(target) == target and (target / "file").read_text() == "old"
    (tmp_path / ".best.old").mkdir()  # a kill after the second rename
    recover(target)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_two_processes_may_write_one_cache_folder(tmp_path: Path) -> None:
    with atomic_cache_folder(tmp_path / "index") as first, atomic_cache_folder(tmp_path / "index") as second:
        for temporary in (first, second):
            (temporary / "file").write_text("same")
    assert (tmp_path / "index" / "file").read_text() == "same"
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_an_error_of_the_disk_is_a_run_folder_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"a\.json could not be written .*`resume`"), saving(tmp_path / "a.json"):
        atomic_write(tmp_path / "missing" / "a.json", "text")
