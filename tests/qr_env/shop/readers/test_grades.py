from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from qr_env.common.errors import ConfigError, DataError
from qr_env.shop.readers.grades import ReadGrades, read_grades


def read(cells: str | list[str], named: str = "") -> ReadGrades:
    """Cells as a list, or as one text with spaces between them."""
    cells = cells.split(" ") if isinstance(cells, str) else cells
    lines_N = np.arange(2, 2 + len(cells))
    return read_grades(pa.chunked_array([cells], pa.string()), lines_N, Path("shop/qrels.csv"), named)


@pytest.mark.parametrize(
    ("cells", "levels"),
    [
        ("0 1 2 3", [0, 1, 2, 3]),
        ("3.0 0.0 1.00", [3, 0, 1]),
        ("3,0 2,0", [3, 2]),
        ("E s C i", [3, 2, 1, 0]),
        ("Exact partial Substitute COMPLEMENT irrelevant", [3, 2, 2, 1, 0]),
        (["Exact match", "Substitutes", "Complementary", "Partial match"], [3, 2, 1, 2]),
        ("E S 1 0", [3, 2, 1, 0]),
        ("3 -1 -2 -3", [3, None, 0, 0]),
        (["3", "\N{MINUS SIGN}1", "-1.0"], [3, None, None]),
        (["3", "", "nan", "N/A", "0"], [3, None, None, None, 0]),
        ("0 0", [0, 0]),
        ("-1", [None]),
        ([], []),
    ],
)
def test_scales_that_are_read_without_a_word(cells: str | list[str], levels: list[int | None]) -> None:
    assert read(cells).levels.to_pylist() == levels


@pytest.mark.parametrize(
    ("cells", "listed", "way_out"),
    [
        ("1 1 0", r"0 \(1 ×\), 1 \(2 ×\)", r"grades='0=I,1=E' if that fits"),
        ("1 1 1", r"1 \(3 ×\)", r"grades='0=I,1=E' if that fits"),
        ("0 1 2", r"2 \(1 ×\)", r"grades='0=I,1=S,2=E' if"),
        ("0 1 2 3 4", r"4 \(1 ×\)", r"grades='0=I,1=C,2=S,3=E,4=E' if"),
        ("0 3 4 4 -2 -1", r"-2 \(1 ×\), -1 \(1 ×\), 0", r"grades='0=I,1=C,2=S,3=E,4=E' if"),
        ("1 2 3 4 5", r"5 \(1 ×\)", r"grades='1=I,2=C,3=S,4=E,5=E' if"),
        ("1.0 0.0", r"0 \(1 ×\), 1 \(1 ×\)", r"grades='0=I,1=E' if"),
        ("0.1 0.55 0.9 1.0", r"0\.55 \(1 ×\)", r"grades='0\.75\.\.1=E,0\.5\.\.0\.75=S,"),
        ([str(n) for n in range(101)], r"101 different numbers from 0 to 100;", r"grades='75\.\.100=E,50\.\.75=S,"),
        (["relevant", "bad"] * 5, r"relevant \(5 ×\), bad \(5 ×\)", r"grades='relevant=E,bad=I' if that fits"),
        (["3"] * 500 + ["4"] * 2, r"3 \(500 ×\), 4 \(2 ×\)", r"grades='0=I,1=C,2=S,3=E,4=E'"),
        ("10 5", r"5 \(1 ×\), 10 \(1 ×\)", r"grades='7\.5\.\.10=E,"),
        ("0.9", r"0\.9 \(1 ×\)", r"grades='0\.75\.\.1=E,0\.5\.\.0\.75=S,"),
        ("-2 4 1", r"-2 \(1 ×\)", r"grades='0=I,1=C,2=S,3=E,4=E' if"),
        ("1 3 5", r"5 \(1 ×\)", r"grades='1=I,2=C,3=S,4=E,5=E' if"),
        ("0 3 10", r"10 \(1 ×\)", r"grades='7\.5\.\.10=E,"),
        (["0", "1"] * 10 + ["E"], r"0 \(10 ×\), 1 \(10 ×\), e \(1 ×\)", r"grades='0=I,1=E' if"),
        ("-2 4", r"-2 \(1 ×\), 4 \(1 ×\)", r"grades='0=I,1=C,2=S,3=E,4=E' if"),
        ("true false", r"true \(1 ×\)", r"'true=E,false=I' if that fits"),
        (["Perfect", "Good", "Fair", "Poor"], "perfect", r"'perfect=E,good=S,fair=C,poor=I' if that fits"),
        (["E", "Highly_Relevant", "I", "not-relevant"], "", r"'highly_relevant=E,not-relevant=I' if that fits"),
        (["yes", "meh", "no"], "", r"'yes=E,meh=LEVEL,no=I', a letter for each LEVEL"),
        (["Exakt", "Irrelevant", "Substitute", "Complement"], "", r"'exakt=E' if that fits"),
    ],
)
def test_any_other_scale_must_be_named(cells: str | list[str], listed: str, way_out: str) -> None:
    with pytest.raises(DataError, match=rf"shop/qrels\.csv: the grades are .*{listed}.*{way_out}"):
        read(cells)


@pytest.mark.parametrize(
    ("cells", "named", "levels"),
    [
        ("1 0 1", "0=I,1=E", [3, 0, 3]),
        ("1 0 1 -1 -2", "1=E", [3, 0, 3, None, 0]),
        ("1 0 2", "1=S,2=E", [2, 0, 3]),
        ("0 1 2 3 4", "0..1=I,2=c,3..4=Exact", [0, 0, 1, 3, 3]),
        ("0.2 0.75 1", "0.75..1=E,0..0.75=I", [0, 3, 3]),
        (["Relevant", "not relevant"], "relevant=E, not relevant=I", [3, 0]),
        ("1 -1 0", "1=E,-1=I", [3, 0, 0]),
        ("-2 0 1", "-2=C,1=E", [1, 0, 3]),
        ("1.0 7", "1=E", [3, None]),
    ],
)
def test_a_named_scale(cells: str | list[str], named: str, levels: list[int | None]) -> None:
    assert read(cells, named).levels.to_pylist() == levels


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("1=X", r"grades='1=X': '1=X' names no level"),
        ("=E", r"'=E' names no level"),
        ("0-4", r"'0-4' names no level of a grade; write GRADE=LEVEL"),
        ("1=E,1=I", "'1' has two levels"),
        ("4..1=E", r"'4\.\.1' is no range"),
        ("a..b=E", r"'a\.\.b' is no range"),
        ("5=E", r"grades='5=E' names none of its grades, which are 0 \(1 ×\), 1 \(1 ×\)"),
    ],
)
def test_a_name_that_cannot_be_used(named: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read("0 1", named)


@pytest.mark.parametrize(
    ("cells", "unknown"),
    [
        ("3 0 7 2", 1),
        ("3 0 5 2", 1),
        ("E I S 4", 1),
        ("3 x", 1),
        ("E I maybe", 1),
        ("3 2.5 0", 1),
        ("3 " * 300 + "9 9 x", 3),
        ("3 " * 300 + "4", 1),
    ],
)
def test_a_grade_outside_the_scale_costs_its_pair_alone(cells: str, unknown: int) -> None:
    found = read(cells)
    assert found.levels.null_count == unknown
    (note,) = found.notes
    assert f"grades outside the scale: {unknown}; their pairs are unknown and left out" in note


def test_notes_count_and_give_an_example() -> None:
    found = read(["3", "", "-1", "-2", "-4", "x"] + ["0"] * 200)
    assert found.notes == [
        "qrels.csv: unjudged pairs left out: 2 (empty (1 ×), -1 (1 ×))",
        "qrels.csv: grades of -2 or less read as Irrelevant: 2 (-4 (1 ×), -2 (1 ×))",
        "qrels.csv: grades outside the scale: 1; their pairs are unknown and left out (first: 'x', line 7)",
    ]


@pytest.mark.parametrize(("cells", "named"), [("S C I", ""), ("0 0", ""), ("0 1", "1=S")])
def test_no_exact_pair_is_said(cells: str, named: str) -> None:
    assert "no pair is Exact" in read(cells, named).notes[-1]


def test_a_scale_without_its_lowest_grade_is_read_and_said() -> None:
    assert "if 1 is the lowest grade, give grades='1=I,2=S,3=E'" in read("1 2 3").notes[0]
    assert read("2 3").notes == read("0 1 3").notes == []


def test_a_million_grades_are_read_quickly() -> None:
    cells = np.random.default_rng(0).integers(0, 4, 1_000_000).astype(str).tolist()
    assert len(read(cells).levels) == 1_000_000


def test_names_of_another_files_scale_leave_a_file_its_own() -> None:
    found = read("0 1 2 3", "0=I,4=E")
    assert found.levels.to_pylist() == [0, 1, 2, 3]
    assert found.notes == [
        "qrels.csv: read on its own scale, as grades='0=I,4=E' is of another (0 (1 ×), 1 (1 ×), 2 (1 ×), 3 (1 ×))"
    ]
    assert read("0 4", "0=I,4=E").levels.to_pylist() == [0, 3]
    assert read("0 1 2 3", "3=E,2=I").levels.to_pylist() == [0, None, 0, 3]  # a part of its own grades
    assert read("0 1 2 3 4 4", "4=E,5=E").levels.to_pylist() == [0, None, None, None, 3, 3]
    with pytest.raises(ConfigError, match="names none of its grades"):
        read("1 0 1", "relevant=E")
