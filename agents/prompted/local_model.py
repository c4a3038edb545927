"""A causal language model in this process that answers prompts (`agents.prompted.language_model.LanguageModel`).

model = LocalModel("smollm2-135m")
for index, text, failure in model.generate(prompts, max_tokens=40, json_schema=False): ...
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_env.models.hub import load_causal_lm

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class LocalModel:
    """Generates greedily, in batches. The weights are loaded at the first prompt.

    Args:
        model: any causal language model, by a name of `qr_env.models.hub` or a folder.
        batch_size: prompts a forward pass.
        chat: use the model's chat template where it has one. False continues the prompt as plain text: asked through
            the chat template, a small model comments on few-shot examples instead of continuing them.
    """

    def __init__(self, model: str, batch_size: int = 16, chat: bool = True) -> None:
        self.name, self.batch_size, self.chat = model, batch_size, chat

    @cached_property
    def settings(self) -> dict[str, object]:
        """Decoding, and sizes and modification times of the weights where they are a local folder."""
        weights = sorted(Path(self.name).glob("*.safetensors")) if Path(self.name).is_dir() else []
        stats = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in weights]
        return {"decoding": "greedy", "chat": self.chat, "weights": stats}

    @cached_property
    def _model_and_tokenizer(self) -> tuple[Any, PreTrainedTokenizerBase]:
        import torch

        model, tokenizer = load_causal_lm(self.name)
        return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer

    def generate(
        self, prompts: Sequence[str], max_tokens: int, json_schema: bool
    ) -> Generator[tuple[int, str, str], None, None]:
        """See `LanguageModel.generate`; a JSON schema cannot be enforced here."""
        if not prompts:
            return
        _, tokenizer = self._model_and_tokenizer
        chat = self.chat and tokenizer.chat_template is not None
        texts = [_chat_text(tokenizer, prompt) for prompt in prompts] if chat else list(prompts)
        ids = tokenizer(texts, add_special_tokens=not chat)["input_ids"]
        # Prompts of similar length share a batch, which needs little padding.
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            for index, text in zip(batch, self._generate_batch([ids[i] for i in batch], max_tokens), strict=True):
                yield index, text, ""

    def _generate_batch(self, ids: list[list[int]], max_tokens: int) -> list[str]:
        import torch
        from transformers import GenerationConfig

        model, tokenizer = self._model_and_tokenizer
        batch = tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(model.device)
        end_ids = model.generation_config.eos_token_id if model.generation_config else tokenizer.eos_token_id
        greedy = GenerationConfig(
            do_sample=False, max_new_tokens=max_tokens, eos_token_id=end_ids, pad_token_id=tokenizer.pad_token_id
        )
        with torch.inference_mode():
            output = model.generate(**batch, generation_config=greedy)
        return tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def _chat_text(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """The prompt as a user's message in the model's chat template."""
    message = [{"role": "user", "content": prompt}]
    return str(
        tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    )
