"""An exported student: rewrites queries with CTranslate2, without torch.

student = FastStudent.load("out/fast")
student.rewrite(["navy couch", "keep coffee hot"])          # as `agents.policy.student.Student.rewrite`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.policy.fast.facts import FastFacts
from agents.policy.prompt import SUGGESTED_TEMPLATE, TEMPLATE, parse_text, prompt_text
from agents.policy.saved_settings import offer_settings, saved_settings
from agents.suggestions.suggester import Suggester
from qr_env.common.atomic_io import current_version
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_files
from qr_env.common.packages import require
from qr_env.retrieval.combine import ORIGINAL_WEIGHT

BATCH = 256


class FastStudent:
    """Implements `qr_env.common.protocols.Agent`; `load` opens one.

    Attributes:
        name, combine, weight, max_new_tokens: of the checkpoint.
        suggester: suggests the words that the student sees; None for one that sees the query alone.
    """

    def __init__(
        self, generator: Any, tokenizer: Any, facts: FastFacts, settings: dict[str, Any], suggester: Suggester | None
    ) -> None:
        self.facts, self.suggester = facts, suggester
        self.name = str(settings.get("name", "student"))
        self.combine = str(settings.get("combine", "expand"))
        self.weight = float(settings.get("weight", ORIGINAL_WEIGHT))
        self.max_new_tokens = int(settings["max_new_tokens"])
        self._generator, self._tokenizer = generator, tokenizer

    @classmethod
    def load(cls, folder: str | Path, suggester: Suggester | None = None, threads: int = 0) -> FastStudent:
        """Open an exported folder.

        Args:
            suggester: as in `Student.load`. threads: of one call; 0 takes OMP_NUM_THREADS or all.

        Raises:
            ConfigError: it is none, is damaged, or was trained with another prompt or other suggestions.
        """
        require("ctranslate2", "tokenizers", what="an exported student")
        import ctranslate2  # noqa: PLC0415 - for exported students only
        from tokenizers import Tokenizer  # noqa: PLC0415

        folder = current_version(Path(folder))
        facts = FastFacts.read(folder)
        settings = saved_settings(folder)
        wanted = offer_settings(settings)
        template = TEMPLATE if wanted is None else SUGGESTED_TEMPLATE
        if settings["template"] != template:
            raise ConfigError(f"{folder} was trained with another prompt: train and export the student again")
        if wanted is not None and suggester is not None and wanted != suggester.settings:
            raise ConfigError(f"{folder} was trained with {wanted}, and is given suggestions of {suggester.settings}")
        model = folder / "model.bin"
        if not model.is_file() or sha256_files(folder, [model]) != facts.model_hash:
            raise ConfigError(f"{model} is damaged or missing: export the student again with qr models export")
        try:
            generator = ctranslate2.Generator(str(folder), device="cpu", intra_threads=threads, inter_threads=1)
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # CTranslate2 and tokenizers raise RuntimeError and bare Exception
            raise ConfigError(f"{folder} does not load ({error}): export it again with qr models export") from error
        known = Suggester(None, wanted) if wanted is not None and suggester is None else suggester
        return cls(generator, tokenizer, facts, settings, known if wanted is not None else None)

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The most probable rewrite of each query, then n − 1 sampled ones; the seed fixes the samples."""
        prompts = self._prompts(queries)
        rewrites = [[text] for text in self._texts(self._decode(prompts), queries)]
        rng = np.random.default_rng(seed)
        for _ in range(n - 1):
            for group, text in zip(rewrites, self._texts(self._sample(prompts, rng), queries), strict=True):
                group.append(text)
        return rewrites

    def _prompts(self, queries: Sequence[str]) -> list[Any]:
        """Encodings of the prompts."""
        offers = [None] * len(queries) if self.suggester is None else self.suggester.offers(queries)
        texts = list(map(prompt_text, queries, offers))
        return list(self._tokenizer.encode_batch(texts, add_special_tokens=False)) if texts else []

    def _decode(self, prompts: Sequence[Any]) -> list[list[int]]:
        """Token ids of the most probable completion of each prompt."""
        if not prompts:
            return []
        found = self._generator.generate_batch(
            [one.tokens for one in prompts],
            max_batch_size=BATCH,
            max_length=self.max_new_tokens,
            include_prompt_in_result=False,
            sampling_topk=1,
            end_token=[self.facts.eos_token],
        )
        return [one.sequences_ids[0] for one in found]

    def _sample(self, prompts: Sequence[Any], rng: np.random.Generator) -> list[list[int]]:
        """Token ids of one completion of each prompt, drawn from the model's probabilities.

        CTranslate2's own sampling cannot be repeated: its random numbers are a thread's, seeded once. Here a random
        number of `rng` is added to each logit (Gumbel 1954: the argmax is a draw), a position at a time.
        """
        end = self._tokenizer.token_to_id(self.facts.eos_token)
        rows = [list(one.ids) for one in prompts]
        active = list(range(len(rows)))
        for _ in range(self.max_new_tokens):
            if not active:
                break
            logits = np.array(self._generator.forward_batch([rows[at] for at in active]))
            for place, at in enumerate(active):
                last = logits[place, len(rows[at]) - 1]
                rows[at].append(int((last + rng.gumbel(size=last.shape)).argmax()))
            active = [at for at in active if rows[at][-1] != end]
        return [row[len(one.ids) :] for row, one in zip(rows, prompts, strict=True)]

    def _texts(self, ids: list[list[int]], queries: Sequence[str]) -> list[str]:
        texts = [parse_text(text) for text in self._tokenizer.decode_batch(ids, skip_special_tokens=True)]
        return texts if self.suggester is None else self.suggester.rewrites(queries, texts)
