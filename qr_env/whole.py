"""Writing so that a kill or a full disk leaves what was there: a file is the old one or the new one, never half of it.

write_whole(folder / "config.json", text)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qr_env.errors import RunFolderError


def write_whole(path: Path, content: str | bytes) -> None:
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
