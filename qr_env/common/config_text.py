"""Read a small text file that a user wrote: settings, a plan, a prompt.

text = read_config_text(Path("settings.yaml"))
"""

from __future__ import annotations

from pathlib import Path

from qr_env.common.errors import ConfigError


def read_config_text(path: Path) -> str:
    """The text of a file, without a byte-order mark.

    Raises:
        ConfigError: there is no such file, or it is not UTF-8; the message has the line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path}: this is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 ({error.object[error.start]:#04x}); save it as UTF-8") from error
