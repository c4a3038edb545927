"""A run is a folder: created once, never overwritten silently, with its settings and where they came from.

with run_lock(args.out):
    open_run(args.out, args, {"shop": shop.hash}, args.resume, FREE)     # writes OUT/config.json or compares with it
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qr_env.common.atomic_io import atomic_write, saving
from qr_env.common.errors import RunFolderError
from runs.common.provenance import environment

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFIG_FILE = "config.json"
JsonDict = dict[str, object]


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Exclusive use of the folder inside the block; folders that are created for it are removed if they stay empty.

    The kernel locks the folder itself: there is no lock file, and a killed process leaves no lock.

    Raises:
        RunFolderError: another process uses the folder, or its file system has no locks.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file; name another `out`")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be made ({error.strerror}); name another `out`") from error
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(f"another process works in {folder}; wait for it, or name another `out`") from None
        except OSError as error:
            raise RunFolderError(f"{folder} cannot be locked ({error}); name an `out` on a local disk") from error
        yield
    finally:
        os.close(handle)
        with suppress(OSError):
            for place in made:
                place.rmdir()


def open_run(
    folder: Path,
    args: DataclassInstance,
    facts: Mapping[str, object],
    resume: bool,
    free: Collection[str] | None = None,
) -> None:
    """Create the folder and write `config.json`; when resuming, `check_run` alone. Arguments and errors are its own."""
    check_run(folder, args, facts, resume, free)
    if not resume:
        folder.mkdir(parents=True, exist_ok=True)
        payload = {"args": _plain(args), "facts": facts, "environment": environment()}
        with saving(folder / CONFIG_FILE):
            atomic_write(folder / CONFIG_FILE, json.dumps(payload, indent=2, default=str) + "\n")


def check_run(
    folder: Path,
    args: DataclassInstance,
    facts: Mapping[str, object],
    resume: bool,
    free: Collection[str] | None = None,
) -> None:
    """Check that the folder holds no run or, when resuming, this one; writes nothing.

    Args:
        args: the verb's settings. facts: hashes of the shop, index and prompt; a resumed run must have the same.
        free: settings that may differ when resuming, "group.field" in a group; None: all of them.

    Raises:
        RunFolderError: the folder already holds a run, holds none to resume, or one of another shop or setting.
    """
    config = folder / CONFIG_FILE
    if not resume:
        if config.exists():
            raise RunFolderError(f"{folder} holds a run already; continue it with `resume`, or name another `out`")
        return
    if not config.is_file():
        raise RunFolderError(f"{folder} holds no run to resume (no {CONFIG_FILE}); start it without `resume`")
    started = json.loads(config.read_text(encoding="utf-8"))
    saved, now = started["facts"], dict(facts)
    if free is not None:
        fixed = _flat(started["args"], free)
        # A setting that did not exist when the run started cannot have influenced it.
        now |= {name: value for name, value in _flat(_plain(args), free).items() if name in fixed}
        saved = fixed | saved
    for name, value in now.items():
        if saved.get(name) != value:
            raise RunFolderError(
                f"{folder} was run with another {name} ({saved.get(name)!r}, now {value!r}); continue with the run's "
                "own, or name another `out`"
            )


def run_config(folder: Path, args: DataclassInstance) -> JsonDict:
    """The run's config.json with the settings of now, as a tracker logs it."""
    started: JsonDict = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    return started | {"args": _plain(args)}


def _flat(values: Mapping[str, object], free: Collection[str]) -> JsonDict:
    """Settings by name, those of a group as "group.field", without the free ones."""
    flat: JsonDict = {}
    for name, value in values.items():
        flat |= {f"{name}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
    return {name: value for name, value in flat.items() if name not in free}


def _plain(args: DataclassInstance) -> JsonDict:
    """A dataclass as JSON values: tuples are lists, paths are texts."""
    plain: JsonDict = json.loads(json.dumps(dataclasses.asdict(args), default=str))
    return plain
