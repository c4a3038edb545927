"""The student: any Hugging Face causal LM that rewrites queries. One code path for `tiny` and `smollm2-135m`.

student = Student.load("out/quickstart/checkpoints/best")
student.rewrite(["couch navy blue", "keep coffee hot"])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from agents.policy.prompt import TEMPLATE, again_text, parse_completions, prompt_ids, text_ids
from agents.policy.rollout import Rollout, sample
from qr_env.common.atomic_io import current_version
from qr_env.common.errors import ConfigError
from qr_env.models.progress import no_weight_bars
from qr_env.retrieval.combine import ORIGINAL_WEIGHT

SETTINGS_FILE = "student.json"
ALIGNMENT = 64  # bytes, of PyTorch's CPU allocator
SAVED = ("name", "max_new_tokens", "combine", "weight")


@dataclass
class Student:
    """A causal LM, its tokenizer, and how long its rewrites may be (tokens). Implements `qr_env.common.protocols.Agent`.

    combine, weight: how its rewrites meet their originals (`qr_env.retrieval.combine`), as it was trained. keep_hidden: rollouts
    hold the states that a value head reads.
    """

    model: Any
    tokenizer: Any
    name: str = "student"
    max_new_tokens: int = 12
    batch_size: int = 256
    combine: str = "expand"
    weight: float = ORIGINAL_WEIGHT
    keep_hidden: bool = False

    def sample(
        self,
        queries: Sequence[str],
        group_size: int = 1,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Rollout:
        """Draw `group_size` rewrites of each query, with their log-probabilities."""
        return self._draw(prompt_ids(self.tokenizer, queries), group_size, temperature, generator)

    def sample_again(
        self,
        queries_N: Sequence[str],
        rewrites_N: Sequence[str],
        found_N: Sequence[str],
        group_size: int = 1,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Rollout:
        """Draw one more rewrite of each query, in sight of the last one and of what it found, where `group_size`
        neighbours share a query."""
        texts = list(map(again_text, queries_N, rewrites_N, found_N))
        rollout = self._draw(text_ids(self.tokenizer, texts), 1, temperature, generator)
        return replace(rollout, group_size=group_size, own_prompts=True)

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

    def texts(self, rollout: Rollout) -> list[str]:
        """The rewrites of a rollout, N = P × G, in its order."""
        return parse_completions(self.tokenizer, rollout.completions())

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The most probable rewrite of each query, then n − 1 sampled ones; the seed fixes the samples."""
        generator = torch.Generator(self.model.device).manual_seed(seed)
        # Sorted by length, a batch holds little padding; the results go back to the caller's order.
        order = sorted(range(len(queries)), key=lambda i: len(queries[i]))
        rewrites: list[list[str]] = [[] for _ in queries]
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            texts = [queries[i] for i in part]
            greedy = self.texts(self.sample(texts, temperature=0.0))
            more = self.texts(self.sample(texts, n - 1, generator=generator)) if n > 1 else []
            for at, i in enumerate(part):
                rewrites[i] = [greedy[at], *more[at * (n - 1) : (at + 1) * (n - 1)]]
        return rewrites

    def save(self, folder: str | Path) -> None:
        """Write an ordinary Hugging Face folder (a LoRA student: the adapter) and `student.json`."""
        folder = Path(folder)
        with no_weight_bars():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        settings = {name: getattr(self, name) for name in SAVED} | {"template": TEMPLATE}
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path, trainable: bool = False) -> Student:
        """Read what `save` wrote.

        Raises:
            ConfigError: no student is there, or it was trained with another prompt template.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = current_version(Path(folder))
        settings = saved_settings(folder)
        if settings["template"] != TEMPLATE:
            raise ConfigError(
                f"{folder} was trained with the prompt {settings['template']!r}, this version has another"
            )
        if (folder / "adapter_config.json").is_file():
            from peft import AutoPeftModelForCausalLM

            with no_weight_bars():
                model = AutoPeftModelForCausalLM.from_pretrained(folder, is_trainable=trainable)
        else:
            with no_weight_bars():
                model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        _align(model)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return cls(model.eval(), tokenizer, **{name: settings[name] for name in SAVED if name in settings})


def _align(model: torch.nn.Module) -> None:
    """Move weights to where PyTorch itself would put them. Those of a mapped file begin anywhere, and kernels sum in
    another order there: a resumed run would differ in the last bit from the run that trained on."""
    for parameter in model.parameters():
        if parameter.data_ptr() % ALIGNMENT:
            parameter.data = parameter.data.clone()


def saved_settings(folder: str | Path) -> dict[str, Any]:
    """What `Student.save` noted beside the weights: `SAVED` and the prompt template, without reading the weights.

    Raises:
        ConfigError: no student is there.
    """
    file = current_version(Path(folder)) / SETTINGS_FILE
    if not file.is_file():
        raise ConfigError(f"{folder} holds no student ({SETTINGS_FILE} is missing); name a checkpoint folder")
    settings: dict[str, Any] = json.loads(file.read_text())
    return settings


def pretrained_student(name: str, max_new_tokens: int, lora_rank: int = 0) -> Student:
    """A student from a pretrained causal LM by the names of `qr_env.models.hub`; `lora_rank` 0 trains all weights."""
    from qr_env.models.hub import load_causal_lm

    model, tokenizer = load_causal_lm(name)
    if lora_rank:
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, settings)
    return Student(model.eval(), tokenizer, name, max_new_tokens)
