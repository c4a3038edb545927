"""The rollout buffer of every optimizer, and the sampling of completions.

    rollout = sample(model, prompts, 8, 12, eos_id, pad_id)     # P prompts × G = 8 completions of up to 12 tokens

`sample` computes each prompt once for its G completions, and finished completions leave the batch. Any Hugging Face
causal LM with a `DynamicCache` works.

Shapes: P prompts, N = P × G completions, Tp prompt tokens, T completion tokens, D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:  # takes seconds to import, and only types are needed
    from transformers import PreTrainedModel


class ModelOutput(Protocol):
    """What is read of a causal LM's output."""

    logits: Tensor
    """(batch, positions, V)."""
    hidden_states: tuple[Tensor, ...]
    """(batch, positions, D) of each layer, where requested."""


@dataclass(frozen=True)
class Rollout:
    """One batch of sampled completions, N = P × G rows, the G rows of a query in one block."""

    prompt_ids_PTp: Tensor
    """int64, prompt tokens, padded on the left; N rows where `prompt_per_row`."""
    prompt_mask_PTp: Tensor
    """int64, 1 on prompt tokens, 0 on padding."""
    tokens_NT: Tensor
    """int64, sampled tokens, padded on the right with the end token."""
    mask_NT: Tensor
    """float32, 1 on sampled tokens, the end token included; 0 on padding and on rows that are left out."""
    logprobs_NT: Tensor
    """float32, log-probabilities of the sampled tokens at the sampling temperature."""
    group_size: int
    """G, completions of one query."""
    hidden_NTD: Tensor | None = None
    """float32, the last layer's state that each token was drawn from, for a value head; None unless requested."""
    prompt_per_row: bool = False
    """Whether each row has a prompt of its own, as on later turns, where prompts hold the row's last rewrite."""

    @property
    def rows_per_prompt(self) -> int:
        """Number of completions of each prompt."""
        return 1 if self.prompt_per_row else self.group_size

    def completions(self) -> list[list[int]]:
        """The sampled token ids of each row, without padding."""
        lengths = self.mask_NT.sum(dim=1).int().tolist()
        return [row[:length] for row, length in zip(self.tokens_NT.tolist(), lengths, strict=True)]

    def select(self, prompts_P: Tensor) -> Rollout:
        """The groups of some queries, truncated to the longest prompt and the longest completion among them."""
        rows_N = self.rows_of(prompts_P)
        longest = int(self.mask_NT[rows_N].sum(dim=1).max())
        prompt_rows = rows_N if self.prompt_per_row else prompts_P
        width = int(self.prompt_mask_PTp[prompt_rows].sum(dim=1).max())
        return Rollout(
            self.prompt_ids_PTp[prompt_rows, -width:],
            self.prompt_mask_PTp[prompt_rows, -width:],
            self.tokens_NT[rows_N, :longest],
            self.mask_NT[rows_N, :longest],
            self.logprobs_NT[rows_N, :longest],
            self.group_size,
            None if self.hidden_NTD is None else self.hidden_NTD[rows_N, :longest],
            self.prompt_per_row,
        )

    def to(self, device: torch.device | str) -> Rollout:
        """The same on another device."""
        hidden_NTD = self.hidden_NTD
        return Rollout(
            self.prompt_ids_PTp.to(device),
            self.prompt_mask_PTp.to(device),
            self.tokens_NT.to(device),
            self.mask_NT.to(device),
            self.logprobs_NT.to(device),
            self.group_size,
            None if hidden_NTD is None else hidden_NTD.to(device),
            self.prompt_per_row,
        )

    def rows_of(self, prompts_P: Tensor) -> Tensor:
        """Row numbers of the queries' completions, the G rows of a query in one block."""
        g = self.group_size
        return (prompts_P[:, None] * g + torch.arange(g, device=prompts_P.device)).flatten()


def pad_left(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Token ids and mask (int64), (P, longest), padded on the left: the last column holds every prompt's last token."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows], dtype=torch.long)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], dtype=torch.long)
    return ids.to(device), mask.to(device)


def pad_right(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Token ids (int64) and mask (float32), (N, longest), padded on the right."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([list(row) + [pad_id] * (width - len(row)) for row in rows], dtype=torch.long)
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in rows])
    return ids.to(device), mask.to(device)


def rollout_of_completions(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    eos_id: int,
    pad_id: int,
    device: torch.device | str,
) -> Rollout:
    """A rollout of given completions, equally many for each prompt, to be scored; `logprobs_NT` is 0, and so is the
    mask of an empty completion."""
    ids_PTp, mask_PTp = pad_left(prompts, pad_id, device)
    tokens_NT, mask_NT = pad_right(completions, eos_id, device)
    return Rollout(ids_PTp, mask_PTp, tokens_NT, mask_NT, torch.zeros_like(mask_NT), len(completions) // len(prompts))


@torch.no_grad()
def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    group_size: int,
    max_new_tokens: int,
    eos_id: int,
    pad_id: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    keep_hidden: bool = False,
) -> Rollout:
    """Draw `group_size` completions for each prompt; temperature 0 takes the most probable token.

    Args:
        model: a causal LM in eval mode or with dropout 0, so that the log-probabilities are the policy's.
        prompts: P lists of token ids, none empty.
        generator: random source, so that a run can be repeated and resumed; None: torch's global one.
        keep_hidden: fill `Rollout.hidden_NTD`.
    """
    device = next(model.parameters()).device
    ids_PTp, mask_PTp = pad_left(prompts, pad_id, device)
    positions_PTp = (mask_PTp.cumsum(dim=1) - 1).clamp(min=0)
    settings = {"use_cache": True, "output_hidden_states": keep_hidden}
    out = model(input_ids=ids_PTp, attention_mask=mask_PTp, position_ids=positions_PTp, logits_to_keep=1, **settings)
    cache, active = out.past_key_values, torch.arange(len(prompts) * group_size, device=device)
    logits, states = (part.repeat_interleave(group_size, dim=0) for part in _last(out, keep_hidden))
    positions, attention = (x.repeat_interleave(group_size, dim=0) for x in (mask_PTp.sum(dim=1), mask_PTp))
    if group_size > 1:
        cache.batch_repeat_interleave(group_size)
    tokens_NT = torch.full((len(active), max_new_tokens), eos_id, device=device)
    logprobs_NT, mask_NT = torch.zeros((2, len(active), max_new_tokens), device=device)
    hidden_NTD = torch.zeros((len(active), max_new_tokens, states.shape[1]), device=device)
    for step in range(max_new_tokens):
        token, logprob = _draw(logits, temperature, generator)
        tokens_NT[active, step], logprobs_NT[active, step], mask_NT[active, step] = token, logprob, 1.0
        hidden_NTD[active, step] = states.float()
        unfinished = (token != eos_id).nonzero().squeeze(1)
        if len(unfinished) == 0 or step + 1 == max_new_tokens:
            break
        if len(unfinished) < len(active):
            # Finished rows leave the batch: most rewrites are short, and a CPU's time is proportional to the rows.
            cache.batch_select_indices(unfinished)
            active, token = active[unfinished], token[unfinished]
            positions, attention = positions[unfinished], attention[unfinished]
        attention = torch.cat([attention, attention.new_ones((len(active), 1))], dim=1)
        out = model(
            input_ids=token[:, None], attention_mask=attention, position_ids=positions[:, None],
            past_key_values=cache, **settings,
        )  # fmt: skip
        (logits, states), positions = _last(out, keep_hidden), positions + 1
    longest = slice(step + 1)
    return Rollout(
        ids_PTp, mask_PTp, tokens_NT[:, longest], mask_NT[:, longest], logprobs_NT[:, longest], group_size,
        hidden_NTD[:, longest] if keep_hidden else None,
    )  # fmt: skip


def _last(out: ModelOutput, keep_hidden: bool) -> tuple[Tensor, Tensor]:
    """Logits and hidden states of the last position; the states have width 0 when they are not kept."""
    logits = out.logits[:, -1]
    return logits, out.hidden_states[-1][:, -1] if keep_hidden else logits[:, :0]


def _draw(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """One token for each row and its log-probability."""
    if temperature == 0.0:
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        token = logprobs.argmax(dim=-1)
        return token, logprobs.gather(1, token[:, None]).squeeze(1)
    probs = torch.softmax(logits.float() / temperature, dim=-1)
    # Inverse transform sampling: one random number a row, where torch.multinomial draws one a vocabulary entry.
    cumulative = probs.cumsum(dim=-1)
    # In (0, total], so that the first cumulative value that reaches it belongs to a token of probability above 0.
    drawn = (1.0 - torch.rand((len(probs), 1), generator=generator, device=probs.device)) * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, drawn)
    return token.squeeze(1), probs.gather(1, token).log().squeeze(1)
