"""Sampling and scoring with each query's prompt computed once for its whole group of rewrites.

`sample` draws G completions for each of P prompts and keeps their log-probabilities; `completion_logprobs` scores
completions with gradients, over the same shared prompt. Any Hugging Face causal LM with a `DynamicCache` works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """One batch of sampled completions, N = P × G rows, a prompt's group in one block.

    prompt_ids_P_Tp, prompt_mask_P_Tp: int64, padded on the left. tokens_N_T: int64, padded on the right with the end
    token. mask_N_T: float32, 1 on sampled tokens, the end token included. logprobs_N_T: float32, of the sampled
    tokens at the sampling temperature. group_size: G.
    """

    prompt_ids_P_Tp: Tensor
    prompt_mask_P_Tp: Tensor
    tokens_N_T: Tensor
    mask_N_T: Tensor
    logprobs_N_T: Tensor
    group_size: int

    def completions(self) -> list[list[int]]:
        """The sampled token ids of each row, without padding."""
        lengths = self.mask_N_T.sum(dim=1).int().tolist()
        return [row[:length] for row, length in zip(self.tokens_N_T.tolist(), lengths, strict=True)]

    def rows(self, prompts: slice) -> Rollout:
        """The part of the batch that belongs to some of the prompts."""
        g = self.group_size
        flat = slice(prompts.start * g, prompts.stop * g)
        return Rollout(
            self.prompt_ids_P_Tp[prompts],
            self.prompt_mask_P_Tp[prompts],
            self.tokens_N_T[flat],
            self.mask_N_T[flat],
            self.logprobs_N_T[flat],
            g,
        )


def pad_left(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Ids and mask, (P, longest), padded on the left: the last column is every prompt's last token."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows], dtype=torch.long)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], dtype=torch.long)
    return ids.to(device), mask.to(device)


def pad_right(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Ids (int64) and mask (float32), (N, longest), padded on the right."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([list(row) + [pad_id] * (width - len(row)) for row in rows], dtype=torch.long)
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in rows])
    return ids.to(device), mask.to(device)


def _read_prompts(model: Any, ids_P_Tp: Tensor, mask_P_Tp: Tensor) -> tuple[Tensor, Any, Tensor]:
    """Logits after each prompt's last token (P, V), the cache, and the next position of each prompt (P,)."""
    positions_P_Tp = (mask_P_Tp.cumsum(dim=1) - 1).clamp(min=0)
    out = model(
        input_ids=ids_P_Tp, attention_mask=mask_P_Tp, position_ids=positions_P_Tp, use_cache=True, logits_to_keep=1
    )
    return out.logits[:, -1], out.past_key_values, mask_P_Tp.sum(dim=1)


@torch.no_grad()
def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    group_size: int,
    max_new_tokens: int,
    eos_id: int,
    pad_id: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Rollout:
    """Draw `group_size` completions for each prompt; temperature 0 takes the most probable token.

    Args:
        model: a causal LM in eval mode or with dropout 0 (the log-probabilities must be the policy's own).
        prompts: P lists of token ids, none empty.
        generator: the source of randomness, so that a run can be repeated and resumed.
    """
    device = next(model.parameters()).device
    ids_P_Tp, mask_P_Tp = pad_left(prompts, pad_id, device)
    logits, cache, positions = _read_prompts(model, ids_P_Tp, mask_P_Tp)
    logits = logits.repeat_interleave(group_size, dim=0)
    positions = positions.repeat_interleave(group_size)
    attention = mask_P_Tp.repeat_interleave(group_size, dim=0)
    if group_size > 1:
        cache.batch_repeat_interleave(group_size)
    n = len(logits)
    tokens_N_T = torch.full((n, max_new_tokens), eos_id, device=device)
    logprobs_N_T = torch.zeros((n, max_new_tokens), device=device)
    mask_N_T = torch.zeros((n, max_new_tokens), device=device)
    alive = torch.arange(n, device=device)
    steps = 0
    for step in range(max_new_tokens):
        steps = step + 1
        token, logprob = _draw(logits, temperature, generator)
        tokens_N_T[alive, step], logprobs_N_T[alive, step], mask_N_T[alive, step] = token, logprob, 1.0
        going = (token != eos_id).nonzero().squeeze(1)
        if len(going) == 0 or steps == max_new_tokens:
            break
        if len(going) < len(alive):
            # Finished rows leave the batch: on a CPU the work is what counts, and most rewrites are short.
            cache.batch_select_indices(going)
            alive, token, positions, attention = alive[going], token[going], positions[going], attention[going]
        attention = torch.cat([attention, attention.new_ones((len(alive), 1))], dim=1)
        out = model(
            input_ids=token[:, None],
            attention_mask=attention,
            position_ids=positions[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        logits, positions = out.logits[:, -1], positions + 1
    return Rollout(ids_P_Tp, mask_P_Tp, tokens_N_T[:, :steps], mask_N_T[:, :steps], logprobs_N_T[:, :steps], group_size)


def _draw(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """One token for each row and its log-probability."""
    logprobs = torch.log_softmax(logits.float() / (temperature or 1.0), dim=-1)
    if temperature == 0.0:
        token = logprobs.argmax(dim=-1)
    else:
        token = torch.multinomial(logprobs.exp(), 1, generator=generator).squeeze(1)
    return token, logprobs.gather(1, token[:, None]).squeeze(1)


def completion_logprobs(model: Any, rollout: Rollout, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probability of every sampled token and the policy's entropy there, both (N, T), with gradients.

    The prompt runs once a query; its cache, still part of the graph, is repeated for the group. The first completion
    token is scored by the prompt's last position, so only T − 1 further positions run.
    """
    first_P_V, cache, positions_P = _read_prompts(model, rollout.prompt_ids_P_Tp, rollout.prompt_mask_P_Tp)
    g, t = rollout.group_size, rollout.tokens_N_T.shape[1]
    logits = first_P_V.repeat_interleave(g, dim=0)[:, None]
    if t > 1:
        cache.batch_repeat_interleave(g)
        attention = torch.cat(
            [rollout.prompt_mask_P_Tp.repeat_interleave(g, dim=0), rollout.mask_N_T[:, :-1].long()], dim=1
        )
        positions = positions_P.repeat_interleave(g)[:, None] + torch.arange(t - 1, device=positions_P.device)
        out = model(
            input_ids=rollout.tokens_N_T[:, :-1],
            attention_mask=attention,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        logits = torch.cat([logits, out.logits], dim=1)
    logprobs_N_T_V = torch.log_softmax(logits.float() / temperature, dim=-1)
    picked_N_T = logprobs_N_T_V.gather(2, rollout.tokens_N_T[:, :, None]).squeeze(2)
    with torch.no_grad():
        entropy_N_T = -(logprobs_N_T_V.exp() * logprobs_N_T_V).sum(dim=-1)
    return picked_N_T, entropy_N_T
