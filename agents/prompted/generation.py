"""Texts that a language model generates from a prompt file, stored and counted; and the base class of agents that read
them.

    model = PromptedModel(LocalModel("smollm2-135m"), PromptFile.load("rewrite_v1"), store=TextStore("cache"))
    model.texts(["couch", "fridge"])        # {"couch": "sofa", …}; failed queries are left out and counted
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tqdm import tqdm

from agents.prompted.language_model import LanguageModel
from agents.prompted.prompt_file import PromptFile
from qr_env.common.hashing import sha256_text
from qr_env.common.text_store import TextStore, text_key

MAX_QUERY_CHARACTERS = 200  # as agents.policy.prompt: a pasted page must not fill the context
STORE_EVERY = 16  # answers that a killed process may lose


@dataclass
class PromptedModel:
    """A language model together with its prompt, few-shot examples and text store."""

    model: LanguageModel
    """Generates the texts."""
    prompt: PromptFile
    """Rendered for every query."""
    examples: Sequence[tuple[str, str]] = ()
    """Few-shot examples for the prompt, (query, text)."""
    max_tokens: int = 40
    """Longest answer, in tokens."""
    max_words: int = 12
    """Longest answer that the prompt asks for, in words."""
    store: TextStore | None = None
    """Where generated texts are kept; None keeps none."""
    faults: dict[str, str] = field(default_factory=dict)
    """Query → why its answer could not be used, of all queries so far."""
    seen: set[str] = field(default_factory=set)
    """All queries so far."""
    generated: int = 0
    """Number of texts generated so far; the others were in the store."""

    @cached_property
    def key(self) -> str:
        """Key of its texts in the store: model, prompt, examples and decoding."""
        facts = json.dumps([self.prompt.hash, *self.examples[: self.prompt.examples], self.max_words])
        digest = sha256_text(facts, 16)
        settings = {**self.model.settings, "tokens": self.max_tokens, "kind": self.prompt.kind}
        return text_key(self.model.name, digest, settings)

    def texts(self, queries: Sequence[str]) -> dict[str, str]:
        """Query → generated text; texts in the store are not generated again."""
        distinct = list(dict.fromkeys(queries))
        self.seen.update(distinct)
        stored = self.store.get(self.key, distinct) if self.store else {}
        return stored | self._generate([query for query in distinct if query not in stored])

    @property
    def costs(self) -> dict[str, float]:
        """Share of all queries so far whose text was generated (not found in the store), and share with each fault."""
        count = max(len(self.seen), 1)
        faults = Counter(self.faults.values())
        shares = {f"unusable: {kind}": number / count for kind, number in faults.items()}
        return {"generated/query": self.generated / count} | shares

    def _generate(self, queries: list[str]) -> dict[str, str]:
        """Query → text, stored every `STORE_EVERY` texts; failures go to `faults`."""
        prompts = [self.prompt.render(_one_line(query), self.examples, self.max_words) for query in queries]
        texts: dict[str, str] = {}
        unsaved: dict[str, str] = {}
        bar = tqdm(total=len(queries), desc=f"{self.model.name} generates", disable=len(queries) < 2, leave=False)
        answers = self.model.generate(prompts, self.max_tokens, json_schema=self.prompt.kind == "rewrite")
        try:
            for index, text, failure in answers:
                bar.update()
                if failure:
                    self.faults[queries[index]] = f"server {failure}"
                else:
                    unsaved[queries[index]] = text
                if len(unsaved) >= STORE_EVERY:
                    texts |= self._save(unsaved)
                    unsaved = {}
        finally:
            bar.close()
            answers.close()
            texts |= self._save(unsaved)
        return texts

    def _save(self, texts: dict[str, str]) -> dict[str, str]:
        self.generated += len(texts)
        if self.store and texts:
            self.store.put(self.key, texts)
        return texts


@dataclass
class GenerativeAgent(ABC):
    """A `qr_env.common.protocols.Agent` whose rewrites are read from generated texts.

    Generation is greedy, so that all n rewrites of a query are equal. A query whose text cannot be used is kept, and
    counted by kind of fault (`costs`).
    """

    model: PromptedModel
    """Generates one text a query."""
    combine: str = "expand"
    """How rewrites are searched: "replace", "expand" or "union"."""
    name: str = "generative"
    """For logs and reports."""

    @property
    def costs(self) -> dict[str, float]:
        """Share of queries with a newly generated text, and share with each fault."""
        return self.model.costs

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The rewrite that the model's text holds, n times; the query itself where the text cannot be used."""
        texts = self.model.texts([query for query in queries if query.strip()])
        return [[self._rewrite(query, texts[query]) if query in texts else query] * n for query in queries]

    def _rewrite(self, query: str, text: str) -> str:
        rewrite, fault = self.read(query, text)
        if fault:
            self.model.faults[query] = fault
        return query if fault else rewrite

    @abstractmethod
    def read(self, query: str, text: str) -> tuple[str, str]:
        """(the rewrite for this agent's `combine`, ""), or ("", why the text cannot be used)."""


def _one_line(query: str) -> str:
    """The query for the prompt: one line of at most `MAX_QUERY_CHARACTERS` characters."""
    return " ".join(query.split())[:MAX_QUERY_CHARACTERS]
