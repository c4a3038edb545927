"""The environments' texts as a Gymnasium space that also works between processes.

    space = text_space(512)
    gymnasium.make_vec("qr_env:QueryRewrite-v0", num_envs=4, vectorization_mode="async")   # shared memory: its default

Gymnasium 1.4 reads a `Text` out of shared memory once, when the `AsyncVectorEnv` is built, so that every later
observation would be blank. A `ShownText` is stored there as code points, and is read again at each observation.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from ctypes import c_int32
from functools import lru_cache
from multiprocessing.sharedctypes import SynchronizedArray
from types import ModuleType
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Text
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

LONGEST = 512
Memory = SynchronizedArray  # of c_int32: the length of each text, then its code points


class ShownText(Text):
    """A `Text` of `text_space`, which `AsyncVectorEnv` can share between processes. Copies share its characters."""

    def __deepcopy__(self, memo: dict[int, Any]) -> ShownText:
        other = text_space(self.max_length)
        other._np_random = deepcopy(self._np_random, memo)
        return other

    def __reduce__(self) -> tuple[Callable[[int], ShownText], tuple[int], dict[str, Any]]:
        return text_space, (self.max_length,), {"_np_random": self._np_random}


class SharedTexts(Sequence[str]):
    """The N texts in shared memory as they are now; `copy.deepcopy`, Gymnasium's `copy=True`, makes a tuple of them."""

    def __init__(self, points_NL: npt.NDArray[np.int32]) -> None:
        self._points_NL = points_NL

    def __len__(self) -> int:
        return len(self._points_NL)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return tuple(self)[index] if isinstance(index, slice) else _text(self._points_NL[index])

    def __iter__(self) -> Iterator[str]:
        return map(_text, self._points_NL)

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        return repr(tuple(self))


def _text(points_L: npt.NDArray[np.int32]) -> str:
    """The text of one row: its length, then its code points."""
    return points_L[1 : 1 + points_L[0]].astype("<u4").tobytes().decode("utf-32-le")


def _rows(memory: Memory[c_int32], space: ShownText) -> npt.NDArray[np.int32]:
    """(N, 1 + longest) the memory as an array."""
    return np.frombuffer(memory.get_obj(), np.int32).reshape(-1, 1 + space.max_length)  # type: ignore[call-overload]


@create_shared_memory.register(ShownText)
def _create(space: ShownText, n: int = 1, ctx: ModuleType = multiprocessing) -> Memory[c_int32]:
    memory: Memory[c_int32] = ctx.Array(c_int32, n * (1 + space.max_length))
    return memory


@read_from_shared_memory.register(ShownText)
def _read(space: ShownText, shared_memory: Memory[c_int32], n: int = 1) -> SharedTexts:
    return SharedTexts(_rows(shared_memory, space))


@write_to_shared_memory.register(ShownText)
def _write(space: ShownText, index: int, values: str, shared_memory: Memory[c_int32]) -> None:
    points = np.frombuffer(values.encode("utf-32-le"), "<u4")
    row = _rows(shared_memory, space)[index]
    row[0], row[1 : 1 + len(points)] = len(points), points


@lru_cache
def _printable_space() -> ShownText:
    printable = "".join(filter(str.isprintable, map(chr, range(0x10000))))
    return ShownText(LONGEST, min_length=0, charset=printable)


def text_space(max_length: int) -> ShownText:
    """Texts of printable characters of the basic plane: Gymnasium's own default refuses even spaces.

    A shallow copy of one cached space: its 60,000 characters are set up once, its random state is not shared.
    """
    space = ShownText.__new__(ShownText)
    space.__dict__.update(_printable_space().__dict__, max_length=max_length)
    return space
