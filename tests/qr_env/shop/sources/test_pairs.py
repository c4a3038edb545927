from __future__ import annotations

from pathlib import Path

import pytest

from qr_env.common.errors import BadRowError, DataError
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_folder

SKIP = ReadOptions(on_bad_row="skip")


def shop_of(folder: Path, ids: list[str], labelled: list[str], options: ReadOptions | None = None) -> Shop:
    """A shop with these product ids, and a label and a purchase for each of the other ids."""
    files = {
        "products": "product_id,title\n" + "".join(f"{name},sofa {n}\n" for n, name in enumerate(ids)),
        "queries": "query_id,query,split\n7,sofa,test\n",
        "qrels": "query_id,product_id,grade\n" + "".join(f"7,{name},3\n" for name in labelled),
    }
    for stem, text in files.items():
        (folder / f"{stem}.csv").write_text(text, encoding="utf-8")
    return read_folder(folder, options)


@pytest.mark.parametrize(
    ("ids", "labelled", "example", "reason"),
    [
        (["123", "45"], ["123.0", "45.0"], "qrels.csv says '123.0', products.csv has '123'", r"'\.0' behind whole num"),
        (["123.0", "45.0"], ["45"], "qrels.csv says '45', products.csv has '45.0'", r"'\.0' behind whole numbers"),
        (["00123", "0045"], ["123", "45"], "qrels.csv says '123', products.csv has '00123'", "lost leading zeros"),
        (["b00x", "b01y"], ["B01Y"], "qrels.csv says 'B01Y', products.csv has 'b01y'", "upper and lower case"),
        (["1", "2"], ["gid://shopify/Product/2"], "has '2'", "a prefix before the ids"),
        (["sku_1", "sku_2"], ["2"], "qrels.csv says '2', products.csv has 'sku_2'", "a prefix before the ids"),
        (["P1", "P2"], ["2"], "products.csv has 'P2'", "a prefix before the numbers"),
        (["AB-12", "CD-34"], ["AB12", "CD34"], "qrels.csv says 'AB12', products.csv has 'AB-12'", "signs between"),
        (["1-red", "2-blue"], ["1"], "products.csv has '1-red'", "something behind the ids"),
        (["4006381333931"], ["4.00638E+12"], "products.csv has '4006381333931'", "a spreadsheet has rounded"),
        (["a", "b"], ["x"], "qrels.csv says 'x', products.csv has 'a'. Write the product ids alike", "none of its"),
    ],
)
@pytest.mark.parametrize("options", [ReadOptions(), SKIP])
def test_a_file_of_which_no_id_is_known_is_refused(
    tmp_path: Path, ids: list[str], labelled: list[str], example: str, reason: str, options: ReadOptions
) -> None:
    with pytest.raises(
        DataError, match=f"none of its {len(labelled)} different product ids is in products.csv"
    ) as error:
        shop_of(tmp_path, ids, labelled, options)
    assert example in str(error.value)
    assert not isinstance(error.value, BadRowError)
    with pytest.raises(DataError, match=reason):
        shop_of(tmp_path, ids, labelled, options)


def test_most_ids_unknown_is_one_sentence_with_an_example_of_both_sides(tmp_path: Path) -> None:
    sentence = (
        "qrels.csv: 2 of its 3 different product ids are not in products.csv: qrels.csv says '2.0', products.csv has "
        "'2'; one of the files has '.0' behind whole numbers, as pandas writes a column with empty cells"
    )
    with pytest.raises(BadRowError) as error:
        shop_of(tmp_path, ["1", "2", "3"], ["1", "2.0", "3.0"])
    assert str(error.value).startswith(f"{tmp_path / 'qrels.csv'}:3: unknown product ({sentence}): '2.0'")
    shop = shop_of(tmp_path, ["1", "2", "3"], ["1", "2.0", "3.0"], SKIP)
    assert shop.report is not None
    assert sentence in shop.report.notes
    assert [(bad.line, bad.reason.split(" (")[0]) for bad in shop.report.bad_rows] == [
        (3, "unknown product"),
        (4, "unknown product"),
    ]
    assert shop.report.by_reason() == {"qrels.csv: unknown product": 2}


def test_a_few_unknown_ids_are_invalid_rows(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, ["1", "2", "3"], ["1", "2", "9"], SKIP)
    assert shop.report is not None
    assert [bad.reason for bad in shop.report.bad_rows] == ["unknown product"]
    assert not [note for note in shop.report.notes if "different product ids" in note]


def test_unknown_query_ids_and_texts_are_refused(tmp_path: Path) -> None:
    shop_of(tmp_path, ["1"], ["1"])
    (tmp_path / "qrels.csv").write_text("query_id,product_id,grade\n007,1,3\n8,1,3\n")
    with pytest.raises(
        DataError, match=r"none of its 2 different query ids is in queries.csv: .*says '007', .*has '7'"
    ):
        read_folder(tmp_path)
    (tmp_path / "qrels.csv").write_text("query,product_id,grade\nlamp,1,3\n")
    with pytest.raises(DataError, match=r"none of its 1 different query texts is in queries.csv: .*'lamp', .*'sofa'"):
        read_folder(tmp_path)


def test_purchases_of_unknown_queries_alone_are_refused(tmp_path: Path) -> None:
    shop_of(tmp_path, ["1"], ["1"])
    (tmp_path / "purchases.csv").write_text("query_id,product_id\n7.0,1\n")
    with pytest.raises(DataError, match=r"purchases\.csv says '7\.0', queries\.csv has '7'"):
        read_folder(tmp_path)


def test_the_text_serves_where_no_query_id_is_known(tmp_path: Path) -> None:
    shop_of(tmp_path, ["1"], ["1"])
    (tmp_path / "qrels.csv").write_text("query_id,query,product_id,grade\nx1,Sofa,1,3\n")
    shop = read_folder(tmp_path)
    assert shop.qrels.toarray().tolist() == [[4]]
    assert shop.report is not None
    assert "qrels.csv: no query id is in queries.csv; its rows are taken by the query's text" in shop.report.notes


def test_the_scale_is_of_the_whole_file_known_products_or_not(tmp_path: Path) -> None:
    shop_of(tmp_path, ["1"], ["1"])
    (tmp_path / "qrels.csv").write_text("query_id,product_id,grade\n7,1,1\n7,99,3\n7,98,0\n")
    assert read_folder(tmp_path, SKIP).qrels.toarray().tolist() == [[2]]


def test_binary_qrels_are_a_scale_that_must_be_named(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("product_id,title\n1,red sofa\n2,blue sofa\n3,red lamp\n")
    (tmp_path / "queries.csv").write_text("query_id,query,split\n1,sofa,test\n2,lamp,test\n")
    (tmp_path / "qrels.trec").write_text("1 0 1 1\n1 0 2 1\n1 0 3 0\n2 0 3 1\n")
    with pytest.raises(DataError, match=r"qrels\.trec: the grades are 0 \(1 ×\), 1 \(3 ×\).*grades='0=I,1=E'"):
        read_folder(tmp_path, SKIP)
    options = ReadOptions(grades="1=E")
    assert read_folder(tmp_path, options).qrels.toarray().tolist() == [[4, 4, 1], [0, 0, 4]]


def test_the_scale_is_of_all_files_of_a_folder_of_labels(tmp_path: Path) -> None:
    shop_of(tmp_path, ["1", "2"], [])
    (tmp_path / "qrels.csv").unlink()
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n7\t1\t1\n7\t2\t0\n")
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n7\t1\t1\n7\t2\t2\n")
    with pytest.raises(DataError, match=r"qrels: the grades are 0 \(1 ×\), 1 \(2 ×\), 2 \(1 ×\).*grades='0=I,1=S,2=E'"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, ReadOptions(grades="1=S,2=E")).qrels.toarray().tolist() == [[3, 4]]
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n7\t2\t3\n")
    assert read_folder(tmp_path).qrels.toarray().tolist() == [[2, 4]]


def test_a_judgment_list_of_quepid(tmp_path: Path) -> None:
    shop_of(tmp_path, ["1", "2"], [])
    (tmp_path / "qrels.csv").write_text("query,docid,rating\nsofa,1,3\nsofa,2,\n")
    shop = read_folder(tmp_path)
    assert shop.qrels.toarray().tolist() == [[4, 0]]
    assert shop.report is not None
    assert "qrels.csv: unjudged pairs left out: 1 (empty (1 ×))" in shop.report.notes


def test_grades_without_labels_are_said(tmp_path: Path) -> None:
    shop_of(tmp_path, ["1"], ["1"])
    (tmp_path / "qrels.csv").unlink()
    shop = read_folder(tmp_path, ReadOptions(grades="1=E"))
    assert shop.report is not None
    assert "grades='1=E' names grades, but there is no qrels file" in shop.report.notes
