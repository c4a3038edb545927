from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qr_env.common.text_keys import text_key, text_keys


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("red sofa", "  RED\t sofa "),
        ("Straße", "STRASSE"),
        ("ｒｅｄ\u3000sofa", "red sofa"),
        ("cafe\u0301", "CAF\u00c9"),
        ("sofa\u00a0bed", "sofa bed"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ],
)
def test_case_form_and_spaces_make_no_other_query(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)
    assert text_keys(pa.array([one, other])).to_pylist() == [text_key(one)] * 2


@pytest.mark.parametrize(("one", "other"), [("sofa", "sofas"), ("café", "cafe"), ("t-shirt", "t shirt"), ("a b", "ab")])
def test_other_differences_make_another_query(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)


@given(st.lists(st.text(max_size=12)))
def test_the_array_operation_is_the_function(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    half = len(texts) // 2
    chunks = pa.chunked_array([texts[:half], texts[half:]], pa.string())
    assert text_keys(chunks).to_pylist() == [text_key(text) for text in texts]
