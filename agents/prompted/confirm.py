"""A language model that confirms pairs: do the query and its rewrite ask for the same? (MiniELM, arXiv 2501.18056)

means_N = ModelConfirm(LocalWriter("smollm2-135m"))(queries, rewrites)

An answer that is neither yes nor no confirms nothing. With a store, what was answered before is not asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from agents.prompted.generation import Writer
from agents.prompted.text_store import TextStore, text_key
from qr_env.common.hashing import sha256_text
from qr_env.common.types import Query

PROMPT = """\
Two queries were typed into the search box of an online shop. Do they ask for the same kind of product, so that what \
is right for the first is right for the second? More words are fine where they do not contradict.
Answer with one word, yes or no.

First: {query}
Second: {rewrite}
Answer:"""
TOKENS = 4  # of an answer
PUT_EVERY = 256  # answers that a kill may lose


@dataclass
class ModelConfirm:
    """(queries, a rewrite of each) → (N,) bool. combine: in "expand" the second query is the first and the words to
    add. store: folder or file that keeps the answers. faults: how many answers said neither."""

    writer: Writer
    combine: str = "expand"
    store: Path | None = None
    faults: int = 0
    known: dict[str, str] = field(default_factory=dict)

    def __call__(self, queries: Sequence[Query], rewrites: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of N rewrites mean the same as their query."""
        asked = [self._prompt(query.text, rewrite) for query, rewrite in zip(queries, rewrites, strict=True)]
        fresh = [prompt for prompt in dict.fromkeys(asked) if prompt not in self.known]
        self._ask(fresh)
        words = [self.known.get(prompt, "").strip().lower() for prompt in asked]
        self.faults += sum(not word.startswith(("yes", "no")) for word in words)
        return np.array([word.startswith("yes") for word in words], np.bool_)

    def _prompt(self, query: str, rewrite: str) -> str:
        return PROMPT.format(query=query, rewrite=f"{query} {rewrite}" if self.combine == "expand" else rewrite)

    def _ask(self, prompts: Sequence[str]) -> None:
        """Answers to `known`, from the store or the model; `PUT_EVERY` answers are kept at a time."""
        key = text_key(self.writer.name, sha256_text(PROMPT), dict(self.writer.settings))
        store = TextStore(self.store) if self.store else None
        self.known |= store.get(key, prompts) if store else {}
        fresh = [prompt for prompt in prompts if prompt not in self.known]
        for start in tqdm(range(0, len(fresh), PUT_EVERY), desc="confirm", unit="batch", disable=len(fresh) < 2):
            part = fresh[start : start + PUT_EVERY]
            answers = {part[at]: text for at, text, fault in self.writer.write(part, TOKENS, False) if not fault}
            if store:
                store.put(key, answers)
            self.known |= answers
