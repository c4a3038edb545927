"""Properties in pairs of columns are attributes."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.shops.files import read, rows


def test_several_properties_of_a_product(tmp_path: Path) -> None:
    header = "Handle,Title,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant Price\n"
    text = header + "tee,Tee,Size,S,Color,Red,19\ntee,,,S,,Blue,19\ntee,,,M,,Blue,\nmug,Mug,Title,Default Title,,,8\n"
    assert rows(read(tmp_path, text), "attributes") == [("Size: S | Color: Red | Blue | M",), ("",)]
    assert rows(read(tmp_path, text.replace("Option2", "Other2")), "attributes") == [("Size: S | M",), ("",)]
    own = "ID,Name,attributes,Attribute 1 name,Attribute 1 value(s)\n1,Tee,soft,Size,S\n"
    assert rows(read(tmp_path, own), "attributes") == [("soft",)]
