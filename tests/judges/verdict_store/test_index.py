"""Keys of verdicts depend on the bytes of the texts and do not collide."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from judges.verdict_store.index import digest, digests, pair_keys


def test_keys_are_of_the_texts_bytes_and_do_not_collide() -> None:
    reference = blake2b("röd soffa".encode(), digest_size=16).digest()
    assert digests(["röd soffa"]).tobytes() == digest("röd soffa") == reference
    texts = digests([f"text {n}" for n in range(300)])
    grid_M2 = pair_keys(np.repeat(texts, 300, axis=0), np.tile(texts, (300, 1)))
    for half in grid_M2.T:  # each half distinguishes all 90,000 ordered pairs, (a, b) from (b, a) too
        assert len(np.unique(half)) == len(half)
    assert digests([]).shape == (0, 2)
    assert len(np.unique(digests(["a", "a ", "A", "a\0", "\ud800", "?"]), axis=0)) == 6
