"""Writing so that a kill or a full disk leaves what was there: a file or folder is the old one or the new one, never
half of it.

atomic_write(folder / "config.json", text)
with atomic_folder(folder / "best") as aside:
    model.save_pretrained(aside)
current_version(folder / "best")           # where to read it, also after a kill
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qr_env.common.errors import RunFolderError

OLD = ".old"  # what a folder is called, behind a dot, while the new one takes its place


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write the file aside, then put it in its place; text as UTF-8."""
    scratch = path.with_name(f".{path.name}.part")
    try:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Give an error that the disk causes (full, read-only, gone) its name.

    Raises:
        RunFolderError: `path` could not be written.
    """
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{path} could not be written ({error}); what was saved before is whole: "
            "make room, or mend the disk, and go on with --resume"
        ) from error


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A folder to write in, which takes the target's place when all went well and else vanishes.

    Two renames, since none puts a folder in the place of a full one: between them, and after a kill between them, the
    old one stands beside its place (`current_version`), from where the next write, or `recover`, fetches it.
    """
    aside, old = target.with_name(f".{target.name}.part"), _old(target)
    recover(target)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        if target.exists():
            target.replace(old)
        aside.replace(target)
    finally:
        recover(target)
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def atomic_cache_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that replaces `target` when the block ends without an error, else is deleted.

    For caches: several processes may write the same target at once, because each would write the same content. One
    process's folder stays. Unlike `atomic_folder`, a kill between the two renames loses the old folder.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    old = scratch.with_name(scratch.name + "-old")
    try:
        yield scratch
        scratch.chmod(0o755)
        with suppress(FileNotFoundError):
            target.rename(old)
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)


def recover(target: Path) -> None:
    """What a kill left beside a folder's place goes back there, or away where the new one stands already. Only for who
    writes there: a reader would get in the way of a write, and has `current_version`."""
    old = _old(target)
    if not old.exists():
        return
    if target.exists():
        shutil.rmtree(old)
    else:
        old.replace(target)


def recover_all(folder: Path) -> None:
    """`recover` of everything in a folder."""
    for old in folder.glob(f".*{OLD}"):
        recover(old.with_name(old.name[1 : -len(OLD)]))


def current_version(target: Path) -> Path:
    """Where a folder that `atomic_folder` writes can be read: in its place, or beside it if a kill left it there."""
    return _old(target) if not target.exists() and _old(target).exists() else target


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}{OLD}")
