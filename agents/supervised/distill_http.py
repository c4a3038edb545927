"""A teacher behind vLLM: log-probabilities of the student's samples over HTTP.

    teacher = ServedTeacher(Client("http://127.0.0.1:8000/v1"), "qwen", student.tokenizer)
    distill(student, teacher, queries)                                 # agents/supervised/distill.py

A server returns the log-probabilities of its K most probable tokens and of the sampled one (`prompt_logprobs`, token
ids in, token ids out). The divergence is then over those tokens and one class of all others, a lower bound of the
divergence over the whole vocabulary. The sampled token is always included, so that tokens that only the student finds
probable count. vLLM's default limit is 20 (`--max-logprobs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import torch

from agents.policy.prompt import completion_ids, parse_text, prompt_ids, prompt_text
from agents.policy.rollout import Rollout, rollout_of_completions
from agents.policy.student import Student
from agents.supervised.distill import PROBE, REMEDY, Support
from qr_env.common.errors import ConfigError
from qr_env.llm.client import Client

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOP = 20
BATCH_SIZE = 16  # sequences a request


class ServedTeacher:
    """A causal LM at an OpenAI-compatible server that takes token ids and gives `prompt_logprobs` (vLLM).

    Args:
        client: sends the requests, with retries.
        model: its name at the server.
        tokenizer: the student's; `check` compares it with the server's. None for a teacher that only rewrites.
        max_new_tokens: longest completion by the teacher.
        top: K, number of log-probabilities requested for a token.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        tokenizer: PreTrainedTokenizerBase | None,
        max_new_tokens: int = 12,
        top: int = TOP,
    ) -> None:
        if top < 1:
            raise ConfigError(f"{top=}: give 1 or more log-probabilities a token")
        self.client, self.name, self._tokenizer = client, model, tokenizer
        self.max_new_tokens, self.top = max_new_tokens, top

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The student's tokenizer."""
        if self._tokenizer is None:
            raise ConfigError(f"teacher {self.name!r} was opened without a tokenizer: it can rewrite, not distill")
        return self._tokenizer

    def check(self, student: Student) -> None:
        """Raise ConfigError unless the server's ids of `PROBE` (vLLM's /tokenize) are the student's."""
        body = {"model": self.name, "prompt": PROBE, "add_special_tokens": False}
        theirs = self.client.post("/tokenize", body).get("tokens")
        mine = student.tokenizer(PROBE, add_special_tokens=False)["input_ids"]
        if theirs != mine:
            raise ConfigError(
                f"teacher {self.name!r} encodes {PROBE[:20]!r}… as {str(theirs)[:60]} and student {student.name!r} as "
                f"{str(mine)[:60]}: different tokenizers, whose distributions cannot be compared; {REMEDY}"
            )

    def sample(self, queries: Sequence[str], temperature: float, seed: int) -> Rollout:
        """One completion of each query: the first line of sampled text, in the student's tokens."""
        completions = completion_ids(self.tokenizer, self._write(queries, temperature, seed))
        ids = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        return rollout_of_completions(prompt_ids(self.tokenizer, queries), completions, *ids, "cpu")

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """Implements `qr_env.common.protocols.Agent`, for `sequence_kd` by a teacher of any tokenizer."""
        rounds = [self._write(queries, float(i > 0), seed + i) for i in range(n)]
        return [list(texts) for texts in zip(*rounds, strict=True)]

    def support(self, rollout: Rollout, temperature: float) -> Support:
        """The sampled token at each position, then the teacher's K − 1 most probable others.

        Raises:
            ConfigError: the temperature is not 1, which servers do not support; or the server returns too few tokens.
        """
        if temperature != 1.0:
            raise ConfigError(
                f"{temperature=}: a server's log-probabilities have temperature 1; use 1.0, or a local teacher"
            )
        prompts = [
            ids[mask.bool()].tolist() for ids, mask in zip(rollout.prompt_ids_PTp, rollout.prompt_mask_PTp, strict=True)
        ]
        drawn = rollout.completions()
        rows = [prompts[i // rollout.group_size] + tokens for i, tokens in enumerate(drawn)]
        settings = {"temperature": 0.0, "max_tokens": 1, "prompt_logprobs": self.top}
        choices = self._complete(rows, settings)
        logprobs = [
            self._top_logprobs(entry, token)
            for choice, tokens in zip(choices, drawn, strict=True)
            if tokens
            for entry, token in zip(choice["prompt_logprobs"][-len(tokens) :], tokens, strict=True)
        ]
        pairs_NV2 = torch.tensor(logprobs, dtype=torch.float64)
        return Support(pairs_NV2[:, :, 1].float(), pairs_NV2[:, :, 0].long())

    def _top_logprobs(self, entry: Mapping[str, Mapping[str, float]], token: int) -> list[tuple[int, float]]:
        """(token, log-probability) of the sampled token, then of the K − 1 most probable others."""
        known = {int(token_id): values["logprob"] for token_id, values in entry.items()}
        others = sorted((name for name in known if name != token), key=lambda name: (-known[name], name))
        if token not in known or len(others) < self.top - 1:
            raise ConfigError(
                f"{self.name!r} returned {len(known)} tokens instead of top={self.top} and the sampled one; start the "
                "server with a higher --max-logprobs, or lower `top`"
            )
        return [(name, known[name]) for name in (token, *others[: self.top - 1])]

    def _write(self, queries: Sequence[str], temperature: float, seed: int) -> list[str]:
        """One rewrite of each query. Prompts are sent as text, since the teacher may have another tokenizer."""
        settings = {"temperature": temperature, "max_tokens": self.max_new_tokens, "seed": seed}
        choices = self._complete([prompt_text(query) for query in queries], settings)
        return [parse_text(choice["text"]) for choice in choices]

    def _complete(self, rows: Sequence[str | list[int]], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The server's completion of each prompt (text or token ids), in order."""
        bodies = {
            start: {"model": self.name, "prompt": rows[start : start + BATCH_SIZE], **settings}
            for start in range(0, len(rows), BATCH_SIZE)
        }
        parts = dict(self.client.run(self._complete_batch, bodies.items()))
        return [choice for start in bodies for choice in parts[start]]

    def _complete_batch(self, job: tuple[int, Mapping[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
        """(start, completions in order) of one (start, request)."""
        start, body = job
        choices = self.client.post("/completions", body)["choices"]
        return start, sorted(choices, key=itemgetter("index"))
