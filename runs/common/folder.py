"""A run is a folder: made once, never overwritten silently, with the resolved settings and where they came from."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qr_env.common.atomic_io import atomic_write, saving
from qr_env.common.errors import RunFolderError
from runs.common.cli import lifted
from runs.common.provenance import environment

CONFIG_FILE = "config.json"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Nobody else works in the folder as long as this lasts; made if it is not there, gone again if it stays empty.

    The lock is the kernel's, on the folder itself: it leaves no file, and a killed process leaves no lock.

    Raises:
        RunFolderError: another process works there, or the disk knows no locks.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(f"another process works in {folder}; wait for it, or name another --out") from None
        except OSError as error:
            raise RunFolderError(f"{folder} cannot be locked ({error}); name an --out on a local disk") from error
        yield
    finally:
        os.close(handle)
        if made:
            with suppress(OSError):
                folder.rmdir()


def open_run(folder: Path, args: Any, facts: dict[str, Any], resume: bool, free: Collection[str] | None = None) -> None:
    """Make the folder and write `config.json`; on resume, check that it is the same run.

    Args:
        args: the verb's dataclass. facts: hashes of the shop, index and prompt; a resumed run must have the same.
        free: settings that a resumed run may have otherwise, the rest of `args` it must have the same; None: all.

    Raises:
        RunFolderError: the folder has a run already, or has none to resume, or one of another shop or setting.
    """
    config = folder / CONFIG_FILE
    if not resume:
        if config.exists():
            raise RunFolderError(f"{folder} holds a run already; go on with --resume, or name another --out")
        folder.mkdir(parents=True, exist_ok=True)
        payload = {"args": _plain(args), "facts": facts, "environment": environment()}
        with saving(config):
            atomic_write(config, json.dumps(payload, indent=2, default=str) + "\n")
        return
    if not config.is_file():
        raise RunFolderError(f"{folder} holds no run to resume (no {CONFIG_FILE}); start it without --resume")
    begun = json.loads(config.read_text(encoding="utf-8"))
    saved, now = begun["facts"], facts
    if free is not None:
        fixed = _by_flag(args, begun["args"], free)
        # A setting that the run did not know when it began had no say in it.
        now = now | {name: value for name, value in _by_flag(args, _plain(args), free).items() if name in fixed}
        saved = fixed | saved
    if different := [name for name, value in now.items() if saved.get(name) != value]:
        name = different[0]
        raise RunFolderError(
            f"{folder} was run with another {name} ({saved.get(name)!r}, now {now[name]!r}); go on with the run's own, "
            "or start a new --out"
        )


def _by_flag(args: Any, values: dict[str, Any], free: Collection[str]) -> dict[str, Any]:
    """Settings as JSON has them, by the names of their flags, "reward.copy" in a group; without the free ones."""
    found: dict[str, Any] = {}
    for name, value in lifted(type(args), json.loads(json.dumps(values, default=str))).items():
        found |= {f"{name}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
    return {name: value for name, value in found.items() if name not in free}


def resolved(folder: Path, args: Any) -> dict[str, Any]:
    """What a tracker is told of a run: its settings now, and the facts and the environment it was begun with."""
    begun = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    told: dict[str, Any] = json.loads(json.dumps(begun | {"args": _plain(args)}, default=str))
    return told


def _plain(args: Any) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in dataclasses.asdict(args).items()}
