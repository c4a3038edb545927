"""Language models that write: who is asked, how what they wrote is kept, and the agent that reads it, for
`prompted.py` and `query2doc.py`.

    asked = Asked(LocalWriter("smollm2-135m"), PromptFile.load("rewrite_v1"), store=TextStore("cache"))
    asked.texts(["couch", "fridge"])        # {"couch": "sofa", …}; what failed is left out and counted

A writer behind a server is `runs/common/writing.py`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from agents.prompted.prompt_file import PromptFile
from agents.prompted.text_store import TextStore, text_key
from qr_env.common.hashing import sha256_text

MAX_QUERY_CHARACTERS = 200  # as agents.policy.prompt: a pasted page must not fill the context
PUT_EVERY = 16  # answers that a kill may lose


class Writer(Protocol):
    """A language model, asked without randomness."""

    @property
    def name(self) -> str:
        """Which model."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What else its texts depend on, as JSON values: revision, decoding."""
        ...

    def write(self, prompts: Sequence[str], tokens: int, schema: bool) -> Generator[tuple[int, str, str], None, None]:
        """(place in `prompts`, text, "") as they are answered; (place, "", kind of failure) where there is no answer.

        tokens: at most. schema: ask for the JSON object {"rewrite": …} where it can be enforced.
        """
        ...


@dataclass
class Asked:
    """A writer with its prompt. examples: (query, text), shown by the prompt. tokens: most of an answer. store: None
    keeps nothing. faults: query → why its answer came to nothing, of all so far."""

    writer: Writer
    prompt: PromptFile
    examples: Sequence[tuple[str, str]] = ()
    tokens: int = 40
    words: int = 12
    store: TextStore | None = None
    faults: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    fresh: int = 0

    @cached_property
    def key(self) -> str:
        """Of its texts in the store."""
        facts = json.dumps([self.prompt.hash, *self.examples[: self.prompt.examples], self.words])
        digest = sha256_text(facts, 16)
        settings = {**self.writer.settings, "tokens": self.tokens, "kind": self.prompt.kind}
        return text_key(self.writer.name, digest, settings)

    def texts(self, queries: Sequence[str]) -> dict[str, str]:
        """Query → what the writer wrote for it; those in the store are not asked again."""
        wanted = list(dict.fromkeys(queries))
        self.seen.update(wanted)
        known = self.store.get(self.key, wanted) if self.store else {}
        return known | self._write([query for query in wanted if query not in known])

    @property
    def costs(self) -> dict[str, float]:
        """Of all queries so far, the share that was written now (not found in the store), and that of each fault."""
        count = max(len(self.seen), 1)
        faults = Counter(self.faults.values())
        return {"written/query": self.fresh / count} | {f"no use: {kind}": n / count for kind, n in faults.items()}

    def _write(self, queries: list[str]) -> dict[str, str]:
        from tqdm import tqdm

        prompts = [self.prompt.render(_shown(query), self.examples, self.words) for query in queries]
        written: dict[str, str] = {}
        fresh: dict[str, str] = {}
        bar = tqdm(total=len(queries), desc=f"{self.writer.name} writes", disable=len(queries) < 2, leave=False)
        answers = self.writer.write(prompts, self.tokens, schema=self.prompt.kind == "rewrite")
        try:
            for at, text, fault in answers:
                bar.update()
                if fault:
                    self.faults[queries[at]] = f"server {fault}"
                else:
                    fresh[queries[at]] = text
                if len(fresh) >= PUT_EVERY:
                    written |= self._kept(fresh)
                    fresh = {}
        finally:
            bar.close()
            answers.close()
            written |= self._kept(fresh)
        return written

    def _kept(self, fresh: dict[str, str]) -> dict[str, str]:
        self.fresh += len(fresh)
        if self.store and fresh:
            self.store.put(self.key, fresh)
        return fresh


@dataclass
class WritingAgent(ABC):
    """Implements `qr_env.common.protocols.Agent` but for what it reads in a text. Greedy, so all n rewrites of a query are the
    same one; a query whose text is of no use stays as it is, and is counted by kind (`costs`)."""

    asked: Asked
    combine: str = "expand"
    name: str = "writer"

    @property
    def costs(self) -> dict[str, float]:
        """Share of queries that were written now, and that of those left as they were, by kind."""
        return self.asked.costs

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """What the model's text says, n times; the query itself where there is none that can be used."""
        texts = self.asked.texts([query for query in queries if query.strip()])
        return [[self._rewrite(query, texts[query]) if query in texts else query] * n for query in queries]

    def _rewrite(self, query: str, text: str) -> str:
        rewrite, fault = self.read(query, text)
        if fault:
            self.asked.faults[query] = fault
        return query if fault else rewrite

    @abstractmethod
    def read(self, query: str, text: str) -> tuple[str, str]:
        """(the rewrite in this agent's mode, ""), or ("", why the text is of no use)."""


def _shown(query: str) -> str:
    """The query as the prompt shows it: one line, not endless."""
    return " ".join(query.split())[:MAX_QUERY_CHARACTERS]


class LocalWriter:
    """Any causal LM in this process, by the names of `qr_env.models.hub`: greedy, in batches. Nothing is loaded before
    there is something to write.

    chat: through the model's chat template, where it has one. False has it continue the prompt as it stands, which
    suits a prompt with examples: told as a chat, a small model talks about them instead.
    """

    def __init__(self, model: str, batch_size: int = 16, chat: bool = True) -> None:
        self.name, self.batch_size, self.chat = model, batch_size, chat

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Where the weights are a folder of the user's: their sizes and times, since its name says little."""
        weights = sorted(Path(self.name).glob("*.safetensors")) if Path(self.name).is_dir() else []
        stats = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in weights]
        return {"decoding": "greedy", "chat": self.chat, "weights": stats}

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch

        from qr_env.models.hub import load_causal_lm

        model, tokenizer = load_causal_lm(self.name)
        return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer

    def write(self, prompts: Sequence[str], tokens: int, schema: bool) -> Generator[tuple[int, str, str], None, None]:
        """See `Writer`; a schema cannot be enforced here."""
        if not prompts:
            return
        _, tokenizer = self._loaded
        chat = self.chat and tokenizer.chat_template is not None
        texts = [_templated(tokenizer, prompt) for prompt in prompts] if chat else list(prompts)
        ids = tokenizer(texts, add_special_tokens=not chat)["input_ids"]
        # Prompts of like length together: little padding.
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            for at, text in zip(part, self._generate([ids[at] for at in part], tokens), strict=True):
                yield at, text, ""

    def _generate(self, ids: list[list[int]], tokens: int) -> list[str]:
        import torch
        from transformers import GenerationConfig

        model, tokenizer = self._loaded
        batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(model.device)
        ends = model.generation_config.eos_token_id if model.generation_config else tokenizer.eos_token_id
        greedy = GenerationConfig(
            do_sample=False, max_new_tokens=tokens, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
        )
        with torch.inference_mode():
            out = model.generate(**batch, generation_config=greedy)
        return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def _templated(tokenizer: Any, prompt: str) -> str:
    """The prompt as a user's message."""
    message = [{"role": "user", "content": prompt}]
    return str(
        tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    )
