"""The student: any Hugging Face causal LM that rewrites queries, `tiny` and `smollm2-135m` alike.

student = Student.load("out/quickstart/checkpoints/best")
student.rewrite(["couch navy blue", "keep coffee hot"])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from agents.policy.prompt import (
    SUGGESTED_TEMPLATE,
    TEMPLATE,
    parse_completions,
    prompt_text,
    retry_prompt_text,
    text_ids,
)
from agents.policy.rollout import Rollout, sample
from agents.policy.saved_settings import SETTINGS_FILE, offer_settings, saved_settings
from agents.suggestions.suggester import Offer, Suggester
from qr_env.common.atomic_io import current_version
from qr_env.common.errors import ConfigError
from qr_env.common.packages import require
from qr_env.models.hub import load_causal_lm
from qr_env.models.no_code import LOAD_ERRORS, refuse_code, safe_loading
from qr_env.models.progress import no_weight_bars
from qr_env.retrieval.combine import ORIGINAL_WEIGHT

ALIGNMENT = 64  # bytes, of PyTorch's CPU allocator
SAVED_FIELDS = ("name", "max_new_tokens", "combine", "weight")


@dataclass
class Student:
    """A causal LM that rewrites queries; implements `qr_env.common.protocols.Agent`."""

    model: PreTrainedModel
    """The causal LM, in eval mode."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer, with an end and a pad token."""
    name: str = "student"
    """For logs and reports."""
    max_new_tokens: int = 12
    """Tokens a rewrite at most, the end token included."""
    batch_size: int = 256
    """Queries a batch in `rewrite`."""
    combine: str = "expand"
    """How a rewrite is combined with its query (`qr_env.retrieval.combine`), as in training."""
    weight: float = ORIGINAL_WEIGHT
    """Weight of the query in that combination, as in training."""
    keep_hidden: bool = False
    """Whether rollouts keep the hidden states that a value head reads."""
    suggester: Suggester | None = None
    """Suggests words that the student sees numbered in its prompt and may name; None: a prompt of the query alone."""

    def prompts(self, queries: Sequence[str]) -> list[str]:
        """The text that the student continues for each query."""
        return list(map(prompt_text, queries, self._offers(queries)))

    def training_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """(prompt, completion) of (query, completion) pairs."""
        prompts = self.prompts([query for query, _ in pairs])
        return [(prompt, completion) for prompt, (_, completion) in zip(prompts, pairs, strict=True)]

    def sample(
        self,
        queries: Sequence[str],
        group_size: int = 1,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Rollout:
        """Draw `group_size` rewrites of each query, with their log-probabilities."""
        return self._draw(text_ids(self.tokenizer, self.prompts(queries)), group_size, temperature, generator)

    def sample_retry(
        self,
        queries_N: Sequence[str],
        rewrites_N: Sequence[str],
        found_N: Sequence[str],
        group_size: int = 1,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Rollout:
        """Draw one more rewrite of each of N queries, with the last rewrite and its search results in the prompt.

        Args:
            queries_N: N = P × G queries, `group_size` neighbors on one query.
            rewrites_N: the last rewrite of each.
            found_N: titles of the products that it found, as one text.
        """
        prompts_N = map(retry_prompt_text, queries_N, rewrites_N, found_N, self._offers(queries_N))
        rollout = self._draw(text_ids(self.tokenizer, list(prompts_N)), 1, temperature, generator)
        return replace(rollout, group_size=group_size, prompt_per_row=True)

    def _draw(
        self, prompts: list[list[int]], group_size: int, temperature: float, generator: torch.Generator | None
    ) -> Rollout:
        return sample(
            self.model,
            prompts,
            group_size,
            self.max_new_tokens,
            self.tokenizer.eos_token_id,
            self.tokenizer.pad_token_id,
            temperature,
            generator,
            self.keep_hidden,
        )

    def texts(self, rollout: Rollout, queries: Sequence[str]) -> list[str]:
        """The N = P × G rewrites of a rollout, in its order, with numbers replaced by the words that they stand for.

        Args:
            queries: the P queries that the rollout was sampled for, or all N of its rows.
        """
        completions = parse_completions(self.tokenizer, rollout.completions())
        if self.suggester is None:
            return completions
        rows_per_query = len(completions) // max(len(queries), 1)
        queries_N = [query for query in queries for _ in range(rows_per_query)]
        return self.suggester.rewrites(queries_N, completions)

    def _offers(self, queries: Sequence[str]) -> Sequence[Offer | None]:
        """Suggestions for each query; None where the student sees none."""
        return [None] * len(queries) if self.suggester is None else self.suggester.offers(queries)

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The most probable rewrite of each query, then n − 1 sampled ones; the seed fixes the samples."""
        generator = torch.Generator(self.model.device).manual_seed(seed)
        # Sorted by length, a batch holds little padding; results are returned in the caller's order.
        order = sorted(range(len(queries)), key=lambda i: len(queries[i]))
        rewrites: list[list[str]] = [[] for _ in queries]
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            texts = [queries[i] for i in part]
            greedy = self.texts(self.sample(texts, temperature=0.0), texts)
            more = self.texts(self.sample(texts, n - 1, generator=generator), texts) if n > 1 else []
            for at, i in enumerate(part):
                rewrites[i] = [greedy[at], *more[at * (n - 1) : (at + 1) * (n - 1)]]
        return rewrites

    @property
    def template(self) -> str:
        """The template of the first turn's prompts."""
        return TEMPLATE if self.suggester is None else SUGGESTED_TEMPLATE

    def save(self, folder: str | Path) -> None:
        """Write an ordinary Hugging Face folder (a LoRA student: the adapter) and `student.json`."""
        folder = Path(folder)
        with no_weight_bars():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        settings = {name: getattr(self, name) for name in SAVED_FIELDS} | {"template": self.template}
        if self.suggester is not None:
            settings["suggester"] = asdict(self.suggester.settings)
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path, trainable: bool = False, suggester: Suggester | None = None) -> Student:
        """Read what `save` wrote.

        Args:
            folder: a checkpoint.
            trainable: load LoRA adapters to be trained on.
            suggester: for a student that sees suggestions, one of the same sources; without it the student can be read
                and saved, and rewrites nothing. Students that see none leave it out.

        Raises:
            ConfigError: the folder holds no student, one that was trained with another prompt template, or with
                suggestions of other sources.
        """
        folder = current_version(Path(folder))
        settings = saved_settings(folder)
        wanted = offer_settings(settings)
        template = TEMPLATE if wanted is None else SUGGESTED_TEMPLATE
        if settings["template"] != template:
            raise ConfigError(
                f"{folder} was trained with the prompt {settings['template']!r}, and this version uses {template!r}: "
                "train the student again"
            )
        if wanted is not None and suggester is not None and wanted != suggester.settings:
            raise ConfigError(f"{folder} was trained with {wanted}, and is given suggestions of {suggester.settings}")
        model, tokenizer = _load_model(folder, trainable)
        if wanted is None:
            suggester = None
        elif suggester is None:
            suggester = Suggester(None, wanted)
        fields = {name: settings[name] for name in SAVED_FIELDS if name in settings}
        return cls(model.eval(), tokenizer, **fields, suggester=suggester)


def _load_model(folder: Path, trainable: bool) -> tuple[Any, Any]:
    """(model, tokenizer) of a folder, read as data. Raises ConfigError where they cannot be, or could run code."""
    refuse_code(folder)
    adapter = (folder / "adapter_config.json").is_file()
    if adapter:
        require("peft", what="a student with LoRA adapters")
    try:
        with no_weight_bars():
            if adapter:
                from peft import AutoPeftModelForCausalLM  # noqa: PLC0415 - for LoRA students only

                model = AutoPeftModelForCausalLM.from_pretrained(folder, is_trainable=trainable, **safe_loading())
            else:
                model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **safe_loading())
        _align(model)
        return model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except LOAD_ERRORS as error:
        raise ConfigError(f"{folder} does not load as a student: {error}") from error


def _align(model: torch.nn.Module) -> None:
    """Copy weights to addresses aligned as by PyTorch's allocator.

    In a memory-mapped file they are not, and kernels sum unaligned weights in another order: a resumed run would
    differ in the last bit from an uninterrupted one.
    """
    for parameter in model.parameters():
        if parameter.data_ptr() % ALIGNMENT:
            parameter.data = parameter.data.clone()


def pretrained_student(name: str, max_new_tokens: int, lora_rank: int = 0) -> Student:
    """A student from a pretrained causal LM, by a name of `qr_env.models.hub`; `lora_rank` 0 trains all weights."""
    model, tokenizer = load_causal_lm(name)
    if lora_rank:
        require("peft", what="a student with LoRA adapters")
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - for LoRA students only

        settings = LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, settings)
    return Student(model.eval(), tokenizer, name, max_new_tokens)
