"""Log-probabilities and entropies of the tokens of a rollout, with gradients.

    scores = score(model, rollout)      # at each gradient step

Prompts and completions are packed into one row without padding, each prompt once; an attention mask lets a completion
see its own prompt and itself. Padded to the longest, three quarters of a batch of short rewrites would be padding.

Shapes: as in `agents/policy/rollout.py`; in a packed row L positions, U of them with logits, M completion tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from agents.policy.rollout import ModelOutput, Rollout

if TYPE_CHECKING:  # takes seconds to import, and only types are needed
    from transformers import PreTrainedModel

MAX_PACKED = 512  # positions in one packed row: attention is quadratic in them


class Scores(NamedTuple):
    """What `score` returns; 0 where masked."""

    logprobs_NT: Tensor
    """float32, log-probabilities of the sampled tokens, with gradients."""
    entropy_NT: Tensor
    """float32, nats, of the policy at each token, without gradients."""
    hidden_NTD: Tensor | None = None
    """float32, the last layer's state that each token was predicted from, with gradients; None unless requested."""


def score(model: PreTrainedModel, rollout: Rollout, temperature: float = 1.0, hidden: bool = False) -> Scores:
    """Log-probability and entropy of every sampled token, and the states they are predicted from if `hidden`.

    The first token of a completion is predicted at its prompt's last position, the others at the token before them;
    logits are computed at no other position. Rows whose mask is all 0 cost nothing.
    """
    mask_NT = rollout.mask_NT.bool()
    parts = [_score_packed(model, part, temperature, hidden) for part in packed_chunks(rollout)]
    logprobs, entropies, states = zip(*parts, strict=True)
    empty_NT = torch.zeros_like(rollout.mask_NT)
    logprobs_NT = empty_NT.masked_scatter(mask_NT, torch.cat(logprobs))
    entropy_NT = empty_NT.masked_scatter(mask_NT, torch.cat(entropies))
    if not hidden:
        return Scores(logprobs_NT, entropy_NT)
    states_MD = torch.cat(states)
    mask_NTD = mask_NT[:, :, None].expand(-1, -1, states_MD.shape[1])
    hidden_NTD = states_MD.new_zeros(mask_NTD.shape).masked_scatter(mask_NTD, states_MD)
    return Scores(logprobs_NT, entropy_NT, hidden_NTD)


def packed_chunks(rollout: Rollout) -> list[Rollout]:
    """The groups of the rollout in order, in chunks of at most `MAX_PACKED` positions, or of a single group."""
    fed_tokens_P = rollout.mask_NT[:, 1:].sum(dim=1).reshape(-1, rollout.group_size).sum(dim=1)
    prompt_tokens_P = rollout.prompt_mask_PTp.sum(dim=1).reshape(len(fed_tokens_P), -1).sum(dim=1)
    parts: list[list[int]] = [[]]
    filled = 0
    for prompt, size in enumerate((prompt_tokens_P + fed_tokens_P).tolist()):
        if filled + size > MAX_PACKED and parts[-1]:
            parts.append([])
            filled = 0
        parts[-1].append(prompt)
        filled += size
    return [rollout.select(torch.tensor(part, device=rollout.mask_NT.device)) for part in parts]


def token_logits(model: PreTrainedModel, rollout: Rollout) -> Tensor:
    """Logits (M, V) that the M unmasked tokens were drawn from, row by row, with gradients; for a chunk of
    `packed_chunks`, which is packed into one row."""
    row = _pack(rollout)
    return _forward(model, row, False).logits[0][row.predictor_M]


def _score_packed(
    model: PreTrainedModel, rollout: Rollout, temperature: float, hidden: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-probabilities (M,), entropies (M,) and states (M, D) of the M unmasked tokens, row by row."""
    row = _pack(rollout)
    out = _forward(model, row, hidden)
    tokens_M = rollout.tokens_NT[rollout.mask_NT.bool()]
    logprobs_M, entropy_U = _LogSoftmaxAt.apply(out.logits[0], row.predictor_M, tokens_M, temperature)
    states_MD = out.hidden_states[-1][0, row.predicting_U][row.predictor_M].float() if hidden else None
    return logprobs_M, entropy_U[row.predictor_M], states_MD


def _forward(model: PreTrainedModel, row: _PackedRow, hidden: bool) -> ModelOutput:
    """One forward pass, with logits at the predicting positions only."""
    visible_LL = torch.zeros(row.visible_LL.shape, dtype=model.dtype, device=model.device)
    visible_LL.masked_fill_(~row.visible_LL, torch.finfo(model.dtype).min)
    return model(
        input_ids=row.ids_L[None],
        attention_mask=visible_LL[None, None],
        position_ids=row.positions_L[None],
        logits_to_keep=row.predicting_U,
        output_hidden_states=hidden,
        use_cache=False,
    )


class _PackedRow(NamedTuple):
    """All prompts, then all completion tokens that predict another token, as one row of L positions."""

    ids_L: Tensor
    """Token ids."""
    positions_L: Tensor
    """Position of each token in its own prompt and completion."""
    visible_LL: Tensor
    """bool, [i, j]: whether position i attends to position j."""
    predicting_U: Tensor
    """Positions at which logits are computed."""
    predictor_M: Tensor
    """For each sampled token, the index in `predicting_U` of the position that predicts it."""


def _pack(rollout: Rollout) -> _PackedRow:
    """The rollout as one row without padding, each prompt once."""
    prompt_mask, mask = rollout.prompt_mask_PTp.bool(), rollout.mask_NT.bool()
    device, g = mask.device, rollout.rows_per_prompt
    lengths_P = prompt_mask.sum(dim=1)
    prompt, column = prompt_mask.nonzero(as_tuple=True)
    place = (prompt_mask.cumsum(dim=1) - 1)[prompt, column]
    # Token t − 1 of a row is an input only if there is a token t to predict.
    fed_row, fed_step = mask[:, 1:].nonzero(as_tuple=True)
    group_L = torch.cat([prompt, fed_row // g])
    row_L = torch.cat([torch.full_like(prompt, -1), fed_row])
    positions_L = torch.cat([place, lengths_P[fed_row // g] + fed_step])
    ids_L = torch.cat([rollout.prompt_ids_PTp[prompt, column], rollout.tokens_NT[fed_row, fed_step]])
    visible_LL = (group_L[:, None] == group_L) & (positions_L[:, None] >= positions_L)
    visible_LL &= (row_L == -1) | (row_L[:, None] == row_L)
    first = len(prompt)
    predicting_U = torch.cat([lengths_P.cumsum(dim=0) - 1, torch.arange(first, first + len(fed_row), device=device)])
    predictor_NT = torch.zeros_like(rollout.tokens_NT)
    predictor_NT[:, 0] = torch.arange(len(mask), device=device) // g
    predictor_NT[fed_row, fed_step + 1] = len(lengths_P) + torch.arange(len(fed_row), device=device)
    return _PackedRow(ids_L, positions_L, visible_LL, predicting_U, predictor_NT[mask])


class _LogSoftmaxContext(FunctionCtx):
    """What the forward pass of `_LogSoftmaxAt` keeps for the backward pass, besides saved tensors."""

    saved_tensors: tuple[Tensor, ...]
    temperature: float
    dtype: torch.dtype


class _LogSoftmaxAt(torch.autograd.Function):
    """log softmax(logits / temperature) at M chosen tokens, and the entropy (U,) of each row, without gradient.

    The backward pass is written out because vocabularies are large: the graph keeps one array of the logits' size
    instead of four.
    """

    @staticmethod
    def forward(
        ctx: _LogSoftmaxContext, logits_UV: Tensor, rows_M: Tensor, tokens_M: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        logits = logits_UV.float()
        logprobs_UV = torch.log_softmax(logits if temperature == 1.0 else logits / temperature, dim=-1)
        picked_M = logprobs_UV[rows_M, tokens_M]
        probs_UV = logprobs_UV.exp()
        entropy_U = -torch.linalg.vecdot(probs_UV, logprobs_UV)
        ctx.save_for_backward(probs_UV, rows_M, tokens_M)
        ctx.temperature, ctx.dtype = temperature, logits_UV.dtype
        ctx.mark_non_differentiable(entropy_U)
        return picked_M, entropy_U

    @staticmethod
    def backward(ctx: _LogSoftmaxContext, grad_M: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        probs_UV, rows_M, tokens_M = ctx.saved_tensors
        grad_M = grad_M / ctx.temperature
        weight_U = grad_M.new_zeros(len(probs_UV)).index_add_(0, rows_M, grad_M)
        grad_UV = probs_UV * -weight_U[:, None]
        grad_UV.index_put_((rows_M, tokens_M), grad_M, accumulate=True)
        return grad_UV.to(ctx.dtype), None, None, None
