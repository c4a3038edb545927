"""Refusals that the verbs share: files and folders that their flags name, checked before the first stage.

check_run_folder(args.out, args.resume)
check_output("json", args.json)
with about("report_judge", args.report_judge):      # an error inside names the setting first
    check_judge(args.report_judge, options)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qr_env.common.errors import ConfigError, QrError, RunFolderError
from runs.common.folder import CONFIG_FILE


@contextmanager
def about(name: str, value: object) -> Iterator[None]:
    """Put the setting and its value before the message of an error of this project that is raised inside."""
    try:
        yield
    except QrError as error:
        setting = f"{name}={str(value)!r}: "
        raise type(error)(setting + str(error).removeprefix(setting)) from error


def check_file(name: str, path: str | Path) -> None:
    """Raise ConfigError unless the setting `name` holds the path of a file with content."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder; name a file" if path.is_dir() else "no such file"
        raise ConfigError(f"{name}={str(path)!r}: {what}")
    if not path.stat().st_size:
        raise ConfigError(f"{name}={str(path)!r}: the file is empty")


def check_output(name: str, path: str | Path | None) -> None:
    """Raise ConfigError if the file that the setting `name` is to write cannot be written; None and "-" write none."""
    if path is None or str(path) in ("", "-"):
        return
    path = Path(path).expanduser()
    if path.is_dir():
        raise ConfigError(f"{name}={str(path)!r}: is a folder; name a file")
    fault = _fault(path.parent)
    if path.exists() and not os.access(path, os.W_OK):
        fault = "it may not be written"
    if fault:
        raise ConfigError(f"{name}={str(path)!r}: {fault}; name another file")


def check_folder(name: str, path: str | Path | None) -> None:
    """Raise ConfigError if nothing can be written in the folder that the setting `name` holds; None names none."""
    if path and (fault := _fault(Path(path).expanduser())):
        raise ConfigError(f"{name}={str(path)!r}: {fault}; name another folder")


def check_run_folder(folder: Path, resume: bool) -> None:
    """Raise RunFolderError if a run cannot be started, or with `resume` continued, in this folder."""
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file; name another `out`")
    if fault := _fault(folder):
        raise RunFolderError(f"{folder}: {fault}; name another `out`")
    has_run = (folder / CONFIG_FILE).exists()
    if has_run and not resume:
        raise RunFolderError(f"{folder} holds a run already; continue it with `resume`, or name another `out`")
    if resume and not has_run:
        raise RunFolderError(f"{folder} holds no run to resume (no {CONFIG_FILE}); start it without `resume`")


def _fault(path: Path) -> str:
    """Why nothing can be written in this folder, judged by the nearest one above it that exists; "" if it can be."""
    there = next(place for place in (path, *path.resolve().parents) if place.exists())
    if not there.is_dir():
        return f"{there} is a file, no folder"
    return "" if os.access(there, os.W_OK) else f"{there} may not be written"
