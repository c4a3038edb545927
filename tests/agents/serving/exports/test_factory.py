"""Whole files of every format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agents.serving.exports.factory import FORMATS, text_format, write_export
from agents.serving.rewritten import Rewritten, rewritten
from qr_env.common.errors import ConfigError

ROWS = [rewritten("navy couch", "sofa^0.4", {"sofa": "titles"}, frequency=3.0), rewritten("kept", "")]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_a_file_and_an_empty_one(name: str, tmp_path: Path) -> None:
    written = write_export(name, ROWS, tmp_path / "rows")
    assert written.rows + sum(written.left_out.reasons.values()) >= 1 and written.files[0].stat().st_size >= 0
    assert write_export(name, [], tmp_path / "none").rows == 0
    assert (tmp_path / "none").exists()


def test_parquet_reads_back(tmp_path: Path) -> None:
    write_export("parquet", ROWS, tmp_path / "rows.parquet")
    first, second = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert first["words"] == [{"word": "sofa", "weight": 0.4, "source": "titles"}]
    assert (first["frequency"], second["kept"], second["words"]) == (3.0, True, [])


def test_a_failing_rewriter_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> Iterator[Rewritten]:
        yield ROWS[0]
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_export("csv", failing(), tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []


def test_another_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of text"):
        text_format("xml")
