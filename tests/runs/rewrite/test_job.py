"""`qr rewrite`: arguments, files and standard input; formats; a pause of the input ends a batch; closed pipes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time

import pyarrow.parquet as pq
import pytest

from qr_env.common.errors import BadRowError, ConfigError
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.sources.files import write_shop
from runs.common.serving.queries import MOST_CHARACTERS, read_table, standard_input
from runs.rewrite.args import Args
from runs.rewrite.job import main
from tests.helpers.fakes import tiny_shop
from tests.helpers.structure import ROOT


@pytest.fixture
def shop(tmp_path, own_cache):
    folder = tmp_path / "shop"
    write_shop(tiny_shop(), folder)
    return str(folder)


def output(args: Args, capsys) -> str:
    main(args)
    return capsys.readouterr().out


def test_queries_of_the_command_line_are_answered_in_their_order(shop, capsys) -> None:
    text = output(Args(agent="repair", shop=shop, queries=("runing shoes", "sofa", "runing shoes")), capsys)
    lines = text.splitlines()
    assert lines[0] == lines[2] and lines[0].startswith("runing shoes → ") and "running" in lines[0]
    assert lines[1] == "sofa   (kept)"


def test_words_have_their_source_and_queries_their_frequency(shop, tmp_path, capsys) -> None:
    (tmp_path / "asked.csv").write_text('query,count\n"runing, shoes",5\nsofa,2\n')
    text = output(Args(agent="repair", shop=shop, file=tmp_path / "asked.csv", format="jsonl"), capsys)
    first, second = map(json.loads, text.splitlines())
    assert {"word": "running", "weight": 1.0, "source": "repair"} in first["words"]
    assert (first["frequency"], second["frequency"], second["kept"]) == (5.0, 2.0, True)
    assert first["model"].startswith("repair@")


def test_a_file_is_written_by_its_suffix(shop, tmp_path) -> None:
    main(Args(agent="repair", shop=shop, queries=("runing shoes",), out=tmp_path / "rows.parquet"))
    assert pq.read_table(tmp_path / "rows.parquet")["query"].to_pylist() == ["runing shoes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "parquet"}, "cannot be streamed"),
        ({"file": "none.csv"}, r"file='none\.csv'"),
        ({"batch": 0}, "batch=0"),
        ({"agent": "nobody"}, "agent='nobody'"),
        ({"agent": "out/none/checkpoints"}, "agent="),
    ],
)
def test_what_is_wrong_is_said_before_the_shop_is_read(changes, message) -> None:
    settings = {"agent": "repair", "shop": "no such shop", "queries": () if "file" in changes else ("a",)} | changes
    with pytest.raises(ConfigError, match=message):
        main(Args(**settings))


def test_odd_lines_are_reported_with_their_number_and_skipped_or_refused(tmp_path, capsys) -> None:
    odd = tmp_path / "odd.txt"
    odd.write_bytes(
        "\ufeffsofa\r\n\n".encode() + b"a\0b\n" + b"x" * (MOST_CHARACTERS + 1) + "\ncafé ☕ עברית^\n".encode()
    )
    with pytest.raises(BadRowError, match=r"odd\.txt:3: NUL byte"):
        read_table(odd, ReadOptions())
    found = read_table(odd, ReadOptions(on_bad_row="skip"))
    assert [one.text for one in found] == ["sofa", "café ☕ עברית^"]


def test_standard_input_is_read_as_it_comes() -> None:
    reading, writing = os.pipe()
    batches: list[list[str]] = []
    reader = threading.Thread(
        target=lambda: batches.extend([one.text for one in part] for part in standard_input(2, ReadOptions(), reading))
    )
    reader.start()
    os.write(writing, b"a\nb\nc\nhal")
    while sum(map(len, batches)) < 3:
        time.sleep(0.01)
    os.write(writing, b"f\nlast")
    os.close(writing)
    reader.join(timeout=10)
    os.close(reading)
    assert batches == [["a", "b"], ["c"], ["half"], ["last"]]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with io.FileIO(writing, "w") as target:
            for _ in range(40):
                target.write(b"x" * 60_000)
            target.write(b"\nsofa\n")

    writer = threading.Thread(target=write)
    writer.start()
    found = [one.text for part in standard_input(8, ReadOptions(on_bad_row="skip"), reading) for one in part]
    writer.join(timeout=10)
    os.close(reading)
    assert found == ["sofa"]


def test_a_closed_pipe_ends_it_quietly(shop) -> None:
    command = [sys.executable, "-m", "runs.rewrite", "identity", "--shop", shop]
    text = "sofa\n" * 20_000
    done = subprocess.run(
        f"{' '.join(command)} | head -1", shell=True, input=text, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout == "sofa   (kept)\n" and "Traceback" not in done.stderr
