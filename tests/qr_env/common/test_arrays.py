"""Array files, and the caches of vectors and indexes: a pickle in the place of one is refused by name."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from judges.verdict_store.store import VerdictStore
from qr_env.common.arrays import load_array, load_arrays
from qr_env.common.errors import DataError, IndexMismatchError, StoreError
from qr_env.common.text_store import TextStore
from qr_env.retrieval.bm25 import BM25
from tests.helpers.fakes import tiny_shop
from tests.helpers.planted import Exploit

SHOP = tiny_shop()


def test_arrays_come_back(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    assert (
        load_array(tmp_path / "a.npy").tolist()
        == load_array(tmp_path / "a.npy", mmap=True).tolist()
        == [[0, 1, 2], [3, 4, 5]]
    )
    np.savez_compressed(tmp_path / "a.npz", texts=np.array(["a", "b"]), rows=np.arange(2))
    assert {name: array.tolist() for name, array in load_arrays(tmp_path / "a.npz").items()} == {
        "texts": ["a", "b"],
        "rows": [0, 1],
    }


@pytest.mark.parametrize("mmap", [True, False])
def test_a_pickle_in_the_place_of_an_array_is_refused(tmp_path: Path, mmap: bool) -> None:
    mark = tmp_path / "code-was-run"
    objects = np.array([Exploit(mark)], dtype=object)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "objects.npz", texts=objects, allow_pickle=True)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Exploit(mark)))
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Exploit(mark)))
    for name in ("objects.npy", "raw.npy"):
        with pytest.raises(DataError, match=rf"{name} is or holds a pickle, which could run code"):
            load_array(tmp_path / name, mmap)
    for name in ("objects.npz", "raw.npz"):
        with pytest.raises(DataError, match=rf"{name} is or holds a pickle, which could run code"):
            load_arrays(tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04broken"])
def test_damaged_arrays_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    for load in (load_array, load_arrays):
        with pytest.raises(DataError, match=r"a\.npy is "):
            load(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "name", ["data.csc.index.npy", "indptr.csc.index.npy", "vocab.index.json", "params.index.json"]
)
def test_a_pickle_in_an_index_is_refused(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "code-was-run"
    folder = tmp_path / "bm25"
    BM25.build(SHOP).save(folder)
    if name.endswith(".npy"):
        np.save(folder / name, np.array([Exploit(mark)], dtype=object), allow_pickle=True)
    else:
        (folder / name).write_bytes(pickle.dumps(Exploit(mark)))
    with pytest.raises(IndexMismatchError, match=str(folder)):
        BM25.load(folder, SHOP)
    assert not mark.exists()


@pytest.mark.parametrize("open_store", [VerdictStore, TextStore])
def test_a_pickle_in_the_place_of_a_store_is_refused(tmp_path: Path, open_store: Callable[[Path], object]) -> None:
    mark, file = tmp_path / "code-was-run", tmp_path / "store.sqlite"
    file.write_bytes(pickle.dumps(Exploit(mark)) + bytes(8192))
    with pytest.raises(StoreError, match=r"store\.sqlite"):
        open_store(file)
    assert not mark.exists()
