"""Supervised fine-tuning with TRL's SFTTrainer: pretraining of `tiny`, the warm start, and multi-task fine-tuning.

Packing concatenates whole sequences into rows without padding. Each sequence attends to itself alone: TRL passes
positions that restart at every sequence and no attention mask, from which transformers (5.23,
`find_packed_sequence_indices`) makes a block-diagonal mask for eager and SDPA attention; FlashAttention takes the
sequence bounds. Without FlashAttention attention is quadratic in a whole row, and `group_by_length`, the default,
leaves little padding to save: for short rewrites on a CPU both cost the same (1,280 pairs, `tiny`: 10.1 CPU seconds
packed, 10.9 not).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from agents.examples.tasks import IGNORED
from agents.policy.prompt import completion_ids, prompt_text, text_ids
from qr_env.common.errors import ConfigError
from qr_env.common.packages import require

if TYPE_CHECKING:
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

PACKED_LENGTH = 512  # positions of a packed row
PACKABLE_ATTENTION = ("eager", "sdpa")  # attention that separates packed sequences, besides all kinds of FlashAttention

TokenSequence = dict[str, list[int]]
"""`input_ids` and `labels` of one sequence."""


def response_sequences(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]) -> list[TokenSequence]:
    """(query, rewrite) pairs, prompted without suggestions, as sequences with a loss on the response only."""
    return prompted_sequences(tokenizer, [(prompt_text(query), rewrite) for query, rewrite in pairs])


def prompted_sequences(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]) -> list[TokenSequence]:
    """(prompt, completion) pairs as sequences with a loss on the completion only."""
    prompts = text_ids(tokenizer, [prompt for prompt, _ in pairs])
    completions = completion_ids(tokenizer, [completion for _, completion in pairs])
    return [
        {"input_ids": prompt + completion, "labels": [IGNORED] * len(prompt) + completion}
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sequences: Sequence[TokenSequence],
    *,
    learning_rate: float,
    batch_size: int,
    epochs: float = 1.0,
    seed: int = 0,
    description: str = "SFT",
    packing: bool = False,
) -> dict[str, float]:
    """Train the model in place, in batches of similar length.

    Args:
        model: all its trainable weights are trained.
        tokenizer: its pad token fills batches.
        sequences: token ids and labels.
        learning_rate: of AdamW; 20 warmup steps, then a cosine to 0.
        batch_size: sequences a step; with packing the number of rows that hold about as many sequences.
        epochs: passes over the sequences.
        seed: of their order.
        description: of the progress bar.
        packing: pack sequences into rows without padding (module docstring).

    Returns:
        `train_loss`, `train_runtime` (s) and `tokens_per_second`.

    Raises:
        ConfigError: with packing, if a sequence is longer than a row or the model's attention would mix sequences.
    """
    require("datasets", "trl", what="supervised fine-tuning")
    # TRL takes seconds to import, and a resumed run does not fine-tune.
    from datasets import Dataset, disable_progress_bars  # noqa: PLC0415
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415

    disable_progress_bars()
    if packing:
        _check_packing(model, sequences)
        batch_size = max(
            1, round(batch_size * sum(len(row["input_ids"]) for row in sequences) / len(sequences) / PACKED_LENGTH)
        )
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=batch_size,
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=20,
            weight_decay=0.01,
            max_grad_norm=1.0,
            train_sampling_strategy="group_by_length",
            optim="adamw_torch",
            bf16=_has_bf16(),
            gradient_checkpointing=None,  # type: ignore[arg-type]  # TRL's default, True, trades time for memory that is not scarce here
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            seed=seed,
            data_seed=seed,
            dataloader_pin_memory=False,
            packing=packing,
            max_length=PACKED_LENGTH if packing else None,
        )
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(list(sequences)),
            processing_class=tokenizer,
            callbacks=[ProgressBar(description)],
        )
        for callback in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(callback)
        result = trainer.train()
    # Trainer leaves its wrapped `forward` on the instance: a deep copy of the model would run the original's weights.
    vars(model).pop("forward", None)
    model.eval()
    tokens = sum(len(row["input_ids"]) for row in sequences) * epochs
    runtime = float(result.metrics["train_runtime"])
    return {
        "train_loss": float(result.training_loss),
        "train_runtime": runtime,
        "tokens_per_second": tokens / max(runtime, 1e-9),
    }


def _has_bf16() -> bool:
    """Whether to train in bfloat16: on GPUs only, since on CPUs it costs precision and saves no time."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _check_packing(model: PreTrainedModel, sequences: Sequence[TokenSequence]) -> None:
    longest = max(len(row["input_ids"]) for row in sequences)
    if longest > PACKED_LENGTH:
        raise ConfigError(
            f"a sequence has {longest} tokens, a packed row {PACKED_LENGTH}: shorten the sequence, or use packing=False"
        )
    attention = str(model.config._attn_implementation)
    if attention not in PACKABLE_ATTENTION and "flash" not in attention:
        raise ConfigError(
            f"attention {attention!r} would mix packed sequences: load the model with sdpa, or use packing=False"
        )


class ProgressBar(TrainerCallback):
    """A tqdm bar of the training steps, in place of Trainer's own output."""

    def __init__(self, description: str) -> None:
        self.description = description

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Open the bar."""
        self.bar = tqdm(total=state.max_steps, desc=self.description, unit="step", mininterval=1.0)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Advance the bar by a step."""
        self.bar.update(1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Close the bar."""
        self.bar.close()
