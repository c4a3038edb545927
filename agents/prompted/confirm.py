"""A language model that confirms pairs: do a query and its rewrite ask for the same? (MiniELM, arXiv 2501.18056)

confirmed_N = ModelConfirm(LocalModel("smollm2-135m"))(queries, rewrites)

An answer that is neither yes nor no confirms nothing. Stored answers are not generated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from agents.prompted.language_model import LanguageModel
from qr_env.common.hashing import sha256_text
from qr_env.common.text_store import TextStore, text_key
from qr_env.common.types import Query

PROMPT = """\
Two queries were typed into the search box of an online shop. Do they ask for the same kind of product, so that what \
is right for the first is right for the second? More words are fine where they do not contradict.
Answer with one word, yes or no.

First: {query}
Second: {rewrite}
Answer:"""
MAX_TOKENS = 4  # of an answer
STORE_EVERY = 256  # answers that a killed process may lose


@dataclass
class ModelConfirm:
    """A callable: (N queries, one rewrite of each) → (N,) bool."""

    model: LanguageModel
    """Answers the prompt."""
    combine: str = "expand"
    """In "expand" the second query is the first and the words to add; else it is the rewrite."""
    store: Path | None = None
    """Folder or file that keeps the answers; None keeps none."""
    unreadable: int = 0
    """Number of answers so far that were neither yes nor no."""
    answers: dict[str, str] = field(default_factory=dict)
    """Prompt → answer, of all prompts so far."""

    def __call__(self, queries: Sequence[Query], rewrites: Sequence[str]) -> npt.NDArray[np.bool_]:
        """(N,) whether each rewrite means the same as its query."""
        prompts = [self._prompt(query.text, rewrite) for query, rewrite in zip(queries, rewrites, strict=True)]
        self._answer([prompt for prompt in dict.fromkeys(prompts) if prompt not in self.answers])
        words = [self.answers.get(prompt, "").strip().lower() for prompt in prompts]
        self.unreadable += sum(not word.startswith(("yes", "no")) for word in words)
        return np.array([word.startswith("yes") for word in words], np.bool_)

    def _prompt(self, query: str, rewrite: str) -> str:
        return PROMPT.format(query=query, rewrite=f"{query} {rewrite}" if self.combine == "expand" else rewrite)

    def _answer(self, prompts: Sequence[str]) -> None:
        """Fill `answers` from the store or the model; `STORE_EVERY` answers are stored at a time."""
        key = text_key(self.model.name, sha256_text(PROMPT), dict(self.model.settings))
        store = TextStore(self.store) if self.store else None
        self.answers |= store.get(key, prompts) if store else {}
        missing = [prompt for prompt in prompts if prompt not in self.answers]
        for start in tqdm(range(0, len(missing), STORE_EVERY), desc="confirm", unit="batch", disable=len(missing) < 2):
            batch = missing[start : start + STORE_EVERY]
            answers = {
                batch[i]: text for i, text, failure in self.model.generate(batch, MAX_TOKENS, False) if not failure
            }
            if store:
                store.put(key, answers)
            self.answers |= answers
