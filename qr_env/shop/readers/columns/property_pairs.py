"""Properties in pairs of columns, a name and a value: WooCommerce's attributes, the options of Shopify, Wix and others.

find_pairs(["ID", "Option1 Name", "Option1 Value"])              # [("Option1 Name", "Option1 Value")]
pair_texts([(pa.array(["Color"]), pa.array(["Red, Blue"]))])     # ["Color: Red, Blue"]
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.columns.spec import plain_name

SEPARATOR = " | "
# Plain names of the two columns; the number is the same in both.
FORMS = (
    (r"attribute_(\d+)_name", "attribute_{}_value_s"),
    (r"attribut_(\d+)_name", "attribut_{}_wert_e"),
    (r"option_?(\d+)_name", "option{}_value"),
    (r"option_name_(\d+)", "option_value_{}"),
    (r"product_option_name(\d+)", "product_option_description{}"),
)
NO_VALUES = ("", "Default Title")  # Shopify's value of a product without options


def find_pairs(header: list[str]) -> list[tuple[str, str]]:
    """(column of names, column of values) of each property, in the order of the header."""
    files = {plain_name(name): name for name in reversed(header)}
    pairs = []
    for name in header:
        for form, value in FORMS:
            match = re.fullmatch(form, plain_name(name))
            if match and (other := files.get(value.format(match[1]))):
                pairs.append((name, other))
    return pairs


def pair_texts(pairs: list[tuple[pa.Array, pa.Array]]) -> pa.Array:
    """(N,) "name: value | name: value"; a value without a name stands alone, a name without a value is left out."""
    joined = pa.array([""] * len(pairs[0][0]), pa.string())
    for names, values in pairs:
        names, values = (pc.utf8_trim_whitespace(pc.fill_null(cells, "")) for cells in (names, values))
        text = pc.if_else(pc.equal(names, ""), values, pc.binary_join_element_wise(names, values, ": "))
        text = pc.if_else(pc.is_in(values, pa.array(NO_VALUES)), "", text)
        both = pc.and_(pc.not_equal(joined, ""), pc.not_equal(text, ""))
        mark = pc.if_else(both, SEPARATOR, "")
        joined = pc.binary_join_element_wise(joined, text, mark)
    return joined
