"""Supervised fine-tuning with TRL's SFTTrainer: pretraining of `tiny`, the warm start, and `agents/supervised/multitask.py`.

Packing lays whole sequences end to end, so that no position is padding; each still sees itself alone, because TRL
gives positions that start anew and no attention mask, from which transformers (5.23, `find_packed_sequence_indices`)
makes a block-diagonal mask for eager and SDPA attention, and FlashAttention takes their bounds. Without FlashAttention
attention is quadratic in a whole batch, and `group_by_length`, the default, leaves little padding to save: for short
rewrites on a CPU both cost the same (1,280 pairs, `tiny`: 10.1 CPU seconds packed, 10.9 not).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agents.policy.prompt import completion_ids, prompt_ids
from qr_env.common.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100
PACKED = 512  # positions of a packed row
BLOCKED = ("eager", "sdpa")  # attention whose mask keeps packed sequences apart, besides all FlashAttention


def response_sequences(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]
) -> list[dict[str, list[int]]]:
    """(query, rewrite) pairs as sequences whose loss is on the response only."""
    prompts = prompt_ids(tokenizer, [query for query, _ in pairs])
    completions = completion_ids(tokenizer, [rewrite for _, rewrite in pairs])
    return [
        {"input_ids": prompt + completion, "labels": [IGNORED] * len(prompt) + completion}
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sequences: Sequence[dict[str, Any]],
    *,
    learning_rate: float,
    batch_size: int,
    epochs: float = 1.0,
    seed: int = 0,
    description: str = "SFT",
    packing: bool = False,
) -> dict[str, float]:
    """Train in place on sequences of `input_ids` and `labels`; a pass in length-sorted batches, cosine to zero.

    Args:
        batch_size: sequences a step; with packing as many rows of `PACKED` positions as hold about that many.
        packing: no padding (see above).

    Returns:
        `train_loss`, `train_runtime` (s) and `tokens_per_second`.

    Raises:
        ConfigError: packing, and a sequence is longer than a row, or the model's attention would mix the sequences.
    """
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback, ProgressCallback
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    if packing:
        _check_packing(model, sequences)
        batch_size = max(
            1, round(batch_size * sum(len(row["input_ids"]) for row in sequences) / len(sequences) / PACKED)
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
            gradient_checkpointing=None,  # type: ignore[arg-type]  # TRL's default, True, saves memory that we have
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            seed=seed,
            data_seed=seed,
            dataloader_pin_memory=False,
            packing=packing,
            max_length=PACKED if packing else None,
        )
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(list(sequences)),
            processing_class=tokenizer,
            callbacks=[_progress(description)],
        )
        for noisy in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(noisy)
        result = trainer.train()
    # Trainer leaves its wrapped `forward` on the instance; a deep copy of the model would still run the original.
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
    """Only a GPU gains by it; a CPU, even one that has it, loses digits for nothing."""
    import torch

    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _check_packing(model: PreTrainedModel, sequences: Sequence[dict[str, Any]]) -> None:
    longest = max(len(row["input_ids"]) for row in sequences)
    if longest > PACKED:
        raise ConfigError(f"a sequence of {longest} tokens, a packed row has {PACKED}: shorten it, or packing=False")
    attention = str(model.config._attn_implementation)
    if attention not in BLOCKED and "flash" not in attention:
        raise ConfigError(
            f"attention {attention!r} would mix packed sequences: load the model with sdpa, or packing=False"
        )


def _progress(description: str) -> Any:
    """A tqdm bar with our description; Trainer's own prints dictionaries between its lines."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar = tqdm(total=state.max_steps, desc=description, unit="step", mininterval=1.0)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.update(1)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.close()

    return Progress()
