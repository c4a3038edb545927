"""Small text files of users: byte-order marks, other encodings, line ends, missing files."""

from __future__ import annotations

from pathlib import Path

import pytest

from qr_env.common.config_text import read_config_text
from qr_env.common.errors import ConfigError
from qr_env.traffic.drift_plan import load_plan


def test_a_byte_order_mark_and_windows_line_ends_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("\ufeffname: café\r\nk: 1\r\n".encode())
    assert read_config_text(tmp_path / "a.yaml") == "name: café\nk: 1\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a: 1\nname: café\n".encode("cp1252"), r"a\.yaml:2: not UTF-8 \(0xe9\); save it as UTF-8"),
        ("a: 1\n".encode("utf-16"), r"a\.yaml: this is UTF-16; save it as UTF-8"),
    ],
)
def test_another_encoding_is_refused_with_its_line(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.yaml").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        load_plan(str(tmp_path / "a.yaml"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        read_config_text(tmp_path / "none.yaml")
