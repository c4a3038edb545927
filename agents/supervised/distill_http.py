"""A teacher behind vLLM: its log-probabilities of the student's samples come over HTTP.

    from qr_env.llm.client import Client                                   # in runs: agents know no judges
    teacher = ServedTeacher(Client("http://127.0.0.1:8000/v1"), "qwen", student.tokenizer)
    distill(student, teacher, queries)                                 # agents/supervised/distill.py

A server names the log-probabilities of its K likeliest tokens and of the sampled one (`prompt_logprobs`, token ids in,
token ids out). The divergence is then over those tokens and "any other", a lower bound of the whole one; the sampled
token is always among them, so that a student is told of what only it finds likely. vLLM's own limit is 20
(`--max-logprobs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch

from agents.policy.prompt import completion_ids, parse_text, prompt_ids, prompt_text
from agents.policy.rollout import Rollout, given
from agents.policy.student import Student
from agents.supervised.distill import PROBE, WAY_OUT, Support
from qr_env.common.errors import ConfigError

TOP = 20
AT_ONCE = 16  # sequences a request


class Server(Protocol):
    """What `qr_env.llm.client.Client` does: posts JSON, and runs jobs side by side as they finish."""

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]: ...

    def run(self, work: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]: ...


class ServedTeacher:
    """A causal LM at an OpenAI-compatible server that takes token ids and gives `prompt_logprobs` (vLLM).

    Args:
        client: sends the requests, tries again, and closes.
        model: its name at the server.
        tokenizer: the student's; `check` compares it with the server's.
        max_new_tokens: of what it writes itself.
        top: K, tokens whose log-probability is asked for.
    """

    def __init__(self, client: Server, model: str, tokenizer: Any, max_new_tokens: int = 12, top: int = TOP) -> None:
        if top < 1:
            raise ConfigError(f"{top=}: a teacher must name at least one token")
        self.client, self.name, self.tokenizer = client, model, tokenizer
        self.max_new_tokens, self.top = max_new_tokens, top

    def check(self, student: Student) -> None:
        """The server gives the student's ids to a text of many scripts (vLLM's /tokenize).

        Raises:
            ConfigError: it gives others.
        """
        asked = {"model": self.name, "prompt": PROBE, "add_special_tokens": False}
        theirs = self.client.post("/tokenize", asked).get("tokens")
        mine = student.tokenizer(PROBE, add_special_tokens=False)["input_ids"]
        if theirs != mine:
            raise ConfigError(
                f"teacher {self.name!r} reads {PROBE[:20]!r}… as {str(theirs)[:60]} and student {student.name!r} as "
                f"{str(mine)[:60]}: different tokenizers, whose distributions cannot be compared; {WAY_OUT}"
            )

    def sample(self, queries: Sequence[str], temperature: float, seed: int) -> Rollout:
        """One completion of each query: the first line of sampled text, in the student's tokens."""
        completions = completion_ids(self.tokenizer, self._write(queries, temperature, seed))
        ids = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        return given(prompt_ids(self.tokenizer, queries), completions, *ids, "cpu")

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """Implements `qr_env.common.protocols.Agent`, for `sequence_kd` by a teacher of any tokenizer."""
        rounds = [self._write(queries, float(i > 0), seed + i) for i in range(n)]
        return [list(texts) for texts in zip(*rounds, strict=True)]

    def support(self, rollout: Rollout, temperature: float) -> Support:
        """The K + 1 tokens of each sampled one: itself first, then the teacher's likeliest others.

        Raises:
            ConfigError: a temperature other than 1, which a server does not apply; or it names fewer than K tokens.
        """
        if temperature != 1.0:
            raise ConfigError(f"{temperature=}: a server's log-probabilities are at 1; use 1.0, or a local teacher")
        prompts = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(rollout.prompt_ids_P_Tp, rollout.prompt_mask_P_Tp, strict=True)
        ]
        drawn = rollout.completions()
        rows = [prompts[i // rollout.group_size] + tokens for i, tokens in enumerate(drawn)]
        settings = {"temperature": 0.0, "max_tokens": 1, "prompt_logprobs": self.top}
        told = self._complete(rows, settings)
        named = [
            self._named(entry, token)
            for choice, tokens in zip(told, drawn, strict=True)
            if tokens
            for entry, token in zip(choice["prompt_logprobs"][-len(tokens) :], tokens, strict=True)
        ]
        pairs_M_K_2 = torch.tensor(named, dtype=torch.float64)
        return Support(pairs_M_K_2[:, :, 1].float(), pairs_M_K_2[:, :, 0].long())

    def _named(self, entry: Mapping[str, Mapping[str, float]], token: int) -> list[tuple[int, float]]:
        """(token, log-probability): the sampled one, then the K likeliest others but one (it may be among the K)."""
        known = {int(name): told["logprob"] for name, told in entry.items()}
        others = sorted((name for name in known if name != token), key=lambda name: (-known[name], name))
        if token not in known or len(others) < self.top - 1:
            raise ConfigError(
                f"{self.name!r} named {len(known)} tokens where top={self.top} and the sampled one were asked for; "
                "start the server with a higher --max-logprobs, or ask for fewer"
            )
        return [(name, known[name]) for name in (token, *others[: self.top - 1])]

    def _write(self, queries: Sequence[str], temperature: float, seed: int) -> list[str]:
        """One rewrite of each query. Prompts go as text: the teacher's own tokens, whatever they are."""
        settings = {"temperature": temperature, "max_tokens": self.max_new_tokens, "seed": seed}
        return [
            parse_text(told["text"]) for told in self._complete([prompt_text(query) for query in queries], settings)
        ]

    def _complete(self, rows: Sequence[str | list[int]], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The server's choice for each prompt, text or token ids, in their order."""

        def ask(start: int) -> tuple[int, list[dict[str, Any]]]:
            body = {"model": self.name, "prompt": rows[start : start + AT_ONCE], **settings}
            choices = self.client.post("/v1/completions", body)["choices"]
            return start, sorted(choices, key=lambda choice: choice["index"])

        parts = dict(self.client.run(ask, range(0, len(rows), AT_ONCE)))
        return [choice for start in sorted(parts) for choice in parts[start]]
