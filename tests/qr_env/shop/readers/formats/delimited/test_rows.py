"""CSV and TSV: separators, headers that do not stand on the first line, quotes that are no quotes."""

from __future__ import annotations

from pathlib import Path

import pytest

from qr_env.common.errors import DataError
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_folder

PRODUCTS = "product_id,title\n1,sofa\n"
SKIP = ReadOptions(on_bad_row="skip")


def shop_of(folder: Path, text: str, name: str = "products.csv", queries: str = "query\ncouch\n") -> Shop:
    (folder / "queries.csv").write_text(queries, encoding="utf-8", newline="")
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return read_folder(folder, SKIP)


def bad_rows(shop: Shop) -> list[tuple[int, str]]:
    assert shop.report is not None
    return [(bad.line, bad.reason.split(" (")[0]) for bad in shop.report.bad_rows]


def notes(shop: Shop) -> str:
    assert shop.report is not None
    return "\n".join(shop.report.notes)


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("product_id;title;price\n1;sofa, red;3,50\n2;lamp, old, red;4,00\n", ["sofa, red", "lamp, old, red"]),
        ("product_id|title|price\n1|sofa; red|3.50\n", ["sofa; red"]),
        ("product_id\ttitle\n1\tsofa, red\n", ["sofa, red"]),
        ("product_id,title,description\n1,sofa,a;b;c\n2,lamp,a|b\n", ["sofa", "lamp"]),
        ("sep=;\r\nproduct_id;title\r\n1;sofa\r\n", ["sofa"]),
        ("SEP=|\nproduct_id|title\n1|a,b,c\n", ["a,b,c"]),
        ('"product_id";"title"\n"1";"sofa; red"\n', ["sofa; red"]),
        ("product_id,title\r1,sofa\r2,lamp\r", ["sofa", "lamp"]),
        ('product_id,title\r\n1,"so\r\nfa"\r\n2,lamp\r\n', ["so\r\nfa", "lamp"]),
        ("'product_id';'title'\n'1';'sofa; 6'' wide'\n2;lamp\n", ["sofa; 6' wide", "lamp"]),
        ('product_id, title\n1, "sofa, red"\n2, lamp\n', ["sofa, red", "lamp"]),
        ('product_id,title,"price\n(EUR)"\n1,sofa,3\n', ["sofa"]),
    ],
)
def test_separators_and_line_ends_are_found(tmp_path: Path, text: str, titles: list[str]) -> None:
    shop = shop_of(tmp_path, text)
    assert (shop.titles, bad_rows(shop)) == (titles, [])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('"Search\nterm",Clicks,"Impressions\n(30 days)"\nred sofa,3,"1,234"\nlamp,1,34\n', "queries.csv"),
        ('"Search\r\nterm";"Impressions"\r\n"red sofa";1,234\r\nlamp;34\r\n', "queries.csv"),
        ('"Search\nterm"\tImpressions\nred sofa\t1,234\nlamp\t34\n', "queries.tsv"),
        ('# of May\n"Impressions\n\n(of the shop)"|"Search\rterm"\n1234|red sofa\n34|lamp\n', "queries.csv"),
    ],
)
def test_names_of_columns_may_have_line_ends(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "products.csv").write_text("product_id,title\n1,sofa\n", encoding="utf-8")
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    shop = read_folder(tmp_path)
    assert (shop.queries["query"].to_pylist(), shop.queries["frequency"].to_pylist()) == (
        ["red sofa", "lamp"],
        [1234, 34],
    )
    assert "query ← Search term" in notes(shop)


def test_one_column_whose_name_has_a_line_end(tmp_path: Path) -> None:
    assert shop_of(tmp_path, PRODUCTS, queries='"Search\nterm"\nred sofa\nlamp\n').queries["query"].to_pylist() == [
        "red sofa",
        "lamp",
    ]


def test_an_inch_in_the_name_of_a_column_opens_no_cell(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, 'product_id\ttitle\twidth "\n1\tsofa\t3\n2\tlamp\t4\n', "products.tsv")
    assert shop.titles == ["sofa", "lamp"]


def test_the_separator_is_told_by_the_rows_not_by_the_suffix(tmp_path: Path) -> None:
    assert shop_of(tmp_path, "product_id,title\n1,sofa\n", "products.tsv").titles == ["sofa"]


@pytest.mark.parametrize(
    "text",
    [
        "product_id,title,,\n1,sofa,,\n2,lamp\n3,desk,\n4,bed,,,,\n",
        "product_id,title\n1,sofa,\n2,lamp\n3,desk,,\n4,bed\n",
        "product_id\ttitle\t\n1\tsofa\n2\tlamp\t\n3\tdesk\t\t\n4\tbed\n",
    ],
)
def test_empty_columns_at_the_end_are_no_ragged_rows(tmp_path: Path, text: str) -> None:
    shop = shop_of(tmp_path, text)
    assert (shop.titles, bad_rows(shop)) == (["sofa", "lamp", "desk", "bed"], [])


def test_blank_rows_at_the_end_of_a_sheet_are_left_out_and_counted(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "product_id,title,price\n1,sofa,3\n,,\n, ,\n\n,,7\n")
    assert (shop.titles, bad_rows(shop)) == (["sofa"], [(6, "missing product_id")])
    assert "products.csv: blank rows left out: 2 (the first on line 3)" in notes(shop)


def test_headers_of_joined_files_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "SKU,Name,Price\n1,sofa,3\nSKU,Name,Price\n2,lamp,4\nSKU,other,5\n"
    shop = shop_of(tmp_path, text, queries="query\nsofa\nquery\nlamp\n")
    assert (shop.titles, bad_rows(shop)) == (["sofa", "lamp", "other"], [])
    assert [query.text for query in shop.all_queries] == ["sofa", "lamp"]
    assert "products.csv: lines that repeat the header left out: 1 (the first on line 3)" in notes(shop)
    assert "queries.csv: lines that repeat the header left out: 1 (the first on line 3)" in notes(shop)


def test_comments_of_an_analytics_export_are_skipped_and_its_second_table_is_not_read(tmp_path: Path) -> None:
    text = (
        "# ----------------------------------------\n# Items\n# Account: Lux, Nord\n"
        "# ----------------------------------------\n\nItem ID,Item name,Item views\n1,sofa,3\n2,lamp,4\n\n"
        "# Start date: 20240101\nDay,Users,Sessions\n1,5,6\n"
    )
    shop = shop_of(tmp_path, text)
    assert (shop.titles, bad_rows(shop)) == (["sofa", "lamp"], [])
    assert "reading stops at the comment on line 10, '# Start date: 20240101'" in notes(shop)


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ('Product report\n"January 1, 2024 - January 31, 2024"\nproduct_id,title,price\n1,sofa,3\n', ["sofa"]),
        (",,,\n,,,\nproduct_id,title,price,\n1,sofa,3,\n", ["sofa"]),
        (",product_id,title\n0,1,sofa\n", ["sofa"]),
        ("\ufeff\ufeffproduct_id,title\n1,sofa\n", ["sofa"]),
        ("#,product_id,title\n1,a,sofa\n", ["sofa"]),
        ("#product_id,title\na,sofa\n", ["sofa"]),
        ("\n\nproduct_id,title\n1,#1 sofa\n# 2,lamp\n", ["#1 sofa", "lamp"]),
    ],
)
def test_the_header_may_stand_below_other_lines(tmp_path: Path, text: str, titles: list[str]) -> None:
    assert shop_of(tmp_path, text).titles == titles


def test_lines_above_the_header_are_told(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "Catalogue\n\nproduct_id,title\n1,sofa\n")
    assert "products.csv: lines 1–2 before the header left out, 'Catalogue'" in notes(shop)


def test_a_file_without_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column for 'product_id' among \['1', 'sofa'\]"):
        shop_of(tmp_path, "1,sofa\n2,lamp\n")


# -- Quotes --------------------------------------------------------------------------------------------------


def test_a_quote_that_a_shopper_typed_takes_no_other_query(tmp_path: Path) -> None:
    """Case 10: five queries stay five."""
    (tmp_path / "products.csv").write_text("product_id,title\n1,red sofa\n")
    text = 'query_id\tquery\n1\t"red lamp\n2\toak table\n3\tshelf\n4\tblue lamp"\n5\tbed\n'
    (tmp_path / "queries.tsv").write_text(text)
    shop = read_folder(tmp_path)
    assert [query.text for query in shop.all_queries] == ['"red lamp', "oak table", "shelf", 'blue lamp"', "bed"]
    assert "quotes that open a cell and do not close it are kept: 1 ('\"red lamp' on line 2)" in notes(shop)


@pytest.mark.parametrize(
    ("row", "title"),
    [
        ('27" tv\tLux', '27" tv'),
        ('"27"" tv"\t"Lux"', '27" tv'),
        ('"quoted" word\tLux', '"quoted" word'),
        ('"two\nlines"\tLux', "two\nlines"),
        ('"a\ttab"\tLux', "a\ttab"),
        ('"a\ttab ""and"" two\nlines"\tLux', 'a\ttab "and" two\nlines'),
        ('""\tLux', ""),
        ('"\tLux', '"'),
        ('6" x 4" photo\tLux', '6" x 4" photo'),
    ],
)
def test_tsv_cells_are_unquoted_only_where_quotes_surround_them(tmp_path: Path, row: str, title: str) -> None:
    shop = shop_of(tmp_path, f"product_id\ttitle\tbrand\n0\tbed\tx\n1\t{row}\n2\tlamp\ty\n", "products.tsv")
    kept = [title] if title else []
    assert shop.titles == ["bed", *kept, "lamp"]
    assert bad_rows(shop) == ([] if title else [(3, "empty title")])


def test_a_last_cell_of_several_lines_in_tsv_is_one_cell(tmp_path: Path) -> None:
    text = 'product_id\ttitle\tdescription\n1\tsofa\t"Nice\nand soft"\n2\tlamp\t"Not closed\n3\tdesk\tx\n'
    shop = shop_of(tmp_path, text, "products.tsv")
    assert shop.products["description"].to_pylist() == ["Nice\nand soft", '"Not closed', "x"]


@pytest.mark.parametrize(
    ("text", "titles", "bad"),
    [
        # a quote in the last, the middle and the first column of the rows that it would swallow
        ('product_id,title\n1,"red lamp\n2,oak\n3,shelf\n4,blue"\n5,bed\n', ["oak", "shelf", 'blue"', "bed"], [2]),
        ('product_id,title,price\n1,"red,5\n2,oak,6\n4,blue",7\n5,bed,8\n', ["oak", 'blue"', "bed"], [2]),
        ('title,product_id\n"red,1\noak,2\nblue",3\nbed,4\n', ["oak", 'blue"', "bed"], [2]),
        ('product_id;title\n1;"red, old\n2;oak, new\n4;blue"\n5;bed\n', ["oak, new", 'blue"', "bed"], [2]),
        # the swallowed record has too few fields, or its quote is broken
        ('product_id,title,price\n1,"red,5\n2,oak,6\n3,"\n4,blue,7\n', ["oak", "blue"], [2, 4]),
        ('product_id,title,price\n1,"27 tv,5\n2,24" tv,6\n5,bed,8\n', ['24" tv', "bed"], [2]),
    ],
)
def test_a_quote_that_swallows_rows_costs_its_own_line(
    tmp_path: Path, text: str, titles: list[str], bad: list[int]
) -> None:
    shop = shop_of(tmp_path, text)
    assert (shop.titles, [line for line, _ in bad_rows(shop)]) == (titles, bad)


@pytest.mark.parametrize(
    "cell",
    [
        "Nice, soft\nwith legs, oak\nand more, yes",
        "Features:\n- oak, solid\n- 120,5 cm\n\n- red",
        "one\ntwo\nthree",
        'He said ""yes""\nand left, at once',
        "a,b,c\nd,e,f",
    ],
)
@pytest.mark.parametrize("place", ["last", "middle"])
def test_descriptions_of_several_lines_stay_whole(tmp_path: Path, cell: str, place: str) -> None:
    header, row = ("product_id,title,description", f'P-1,sofa,"{cell}"')
    if place == "middle":
        header, row = "product_id,description,title", f'P-1,"{cell}",sofa'
    shop = shop_of(tmp_path, f"{header}\n{row}\nP-2,lamp,lamp\n")
    assert bad_rows(shop) == []
    assert shop.products["description"].to_pylist()[0] == cell.replace('""', '"')


def test_quotes_with_backslashes_are_read_and_counted(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, 'product_id,title,brand\n"1","27\\" tv","Lux"\n"2","lamp","x"\n"3","6\\" by 4\\"","y"\n')
    assert (shop.titles, bad_rows(shop)) == (['27" tv', "lamp", '6" by 4"'], [])
    assert 'quotes written as \\" are read as quotes (CSV has ""): 2' in notes(shop)


# -- One column ----------------------------------------------------------------------------------------------


def queries_of(folder: Path, text: str) -> tuple[list[str], list[tuple[int, str]]]:
    shop = shop_of(folder, "product_id,title\n1,sofa\n", queries=text)
    return [query.text for query in shop.all_queries], bad_rows(shop)


def test_a_list_of_queries_needs_no_quotes(tmp_path: Path) -> None:
    text = 'query\nred lamp, big\n"a ""b"" c"\n27" tv\n\n"open\nlamp\n'
    assert queries_of(tmp_path, text) == (["red lamp, big", 'a "b" c', '27" tv', '"open', "lamp"], [])


def test_a_header_that_lacks_a_column_is_not_taken_for_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable query"):
        queries_of(tmp_path, "query\nsofa,3\nlamp,4\nbed,5\n")
    assert queries_of(tmp_path, "query\nsofa\nlamp, red\nbed, oak\nrug\ndesk\n")[1] == []


def test_a_broken_row_among_many_costs_itself(tmp_path: Path) -> None:
    rows = [f"{n},lamp {n},{n}" for n in range(2, 2_000)]
    rows[500], rows[1_000], rows[1_500] = '502,"17 inch,1', "1002,lamp", '1502,"two\nlines",1'
    shop = shop_of(tmp_path, "product_id,title,price\n" + "\n".join(rows) + "\n")
    assert bad_rows(shop) == [(502, "broken quotes"), (1_002, "ragged row")]
    assert len(shop.titles) == len(rows) - 2
    assert "two\nlines" in shop.titles
