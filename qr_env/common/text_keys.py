"""When two query texts are the same query: equal up to case, Unicode form (NFKC) and white space.

text_key("RED  Sofa")                                       # "red sofa"
text_keys(pa.array(["RED  Sofa", "ｒｅｄ sofa"]))            # ["red sofa", "red sofa"]
"""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pyarrow.compute as pc


def text_key(text: str) -> str:
    """The text case-folded, in NFKC, with single spaces: equal for texts that are the same query."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def text_keys(texts: pa.ChunkedArray | pa.Array) -> pa.Array:
    """`text_key` of N texts, (N,) strings; ASCII texts as array operations."""
    values = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    # \x1c-\x1f too: `str.split` takes them for white space.
    keys = pc.replace_substring_regex(pc.ascii_lower(values), r"[\t-\r\x1c-\x20]+", " ")
    keys = pc.ascii_trim_whitespace(keys)
    others = pc.invert(pc.string_is_ascii(values))
    if not pc.any(others).as_py():
        return keys
    folded = pa.array([text_key(text) for text in values.filter(others).to_pylist()], pa.string())
    return pc.replace_with_mask(keys, others, folded)
