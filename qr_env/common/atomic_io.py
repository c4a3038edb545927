"""Atomic writing of files and folders: a kill or a full disk leaves the old version or the new one, never a part.

atomic_write(folder / "config.json", text)
with atomic_folder(folder / "best") as temporary:
    model.save_pretrained(temporary)
current_version(folder / "best")           # the path to read from, also after a kill
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qr_env.common.errors import RunFolderError

OLD = ".old"  # suffix of a folder's previous version, `.NAME.old`, while the new one replaces it


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write to a temporary file in the same folder, then rename it to `path`; text is encoded as UTF-8."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn an OSError of the disk (full, read-only, missing) into a RunFolderError that names `path`."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{path} could not be written ({error}); what was saved before is intact: "
            "free disk space, or repair the disk, then repeat the command, a run with `resume`"
        ) from error


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `target` when the block succeeds and is deleted when it raises.

    A full folder is replaced by two renames. After a kill between them only the previous version exists, as
    `.NAME.old`: `current_version` finds it, and the next write, or `recover`, renames it back.
    """
    temporary, old = target.with_name(f".{target.name}.part"), _old(target)
    recover(target)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if target.exists():
            target.replace(old)
        temporary.replace(target)
    finally:
        recover(target)
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_cache_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that replaces `target` when the block ends without an error, else is deleted.

    For caches: several processes may write the same target at once, because each would write the same content. One
    process's folder stays. Unlike `atomic_folder`, a kill between the two renames loses the old folder.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    old = temporary.with_name(temporary.name + "-old")
    try:
        yield temporary
        temporary.chmod(0o755)
        with suppress(FileNotFoundError):
            target.rename(old)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


def recover(target: Path) -> None:
    """Rename `.NAME.old` back to `target` after a kill, or delete it where the new version is complete.

    Only for the process that writes `target`: a reader would disturb a write in progress and calls `current_version`.
    """
    old = _old(target)
    if not old.exists():
        return
    if target.exists():
        shutil.rmtree(old)
    else:
        old.replace(target)


def recover_all(folder: Path) -> None:
    """`recover` every folder inside `folder`."""
    for old in folder.glob(f".*{OLD}"):
        recover(old.with_name(old.name[1 : -len(OLD)]))


def current_version(target: Path) -> Path:
    """The path from which a folder written by `atomic_folder` can be read: `target`, or `.NAME.old` after a kill."""
    return _old(target) if not target.exists() and _old(target).exists() else target


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}{OLD}")
