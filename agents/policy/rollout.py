"""Sampling completions, and their log-probabilities with gradients: the rollout buffer of every optimizer.

    rollout = sample(model, prompts, 8, 12, eos_id, pad_id)     # P prompts × G = 8 completions of up to 12 tokens
    scores = score(model, rollout)                              # at each gradient step

`sample` computes each prompt once for its G completions, and finished completions leave the batch. `score` packs
prompts and completions into one row without padding, each prompt once; an attention mask lets a completion see its own
prompt and itself. Padded to the longest, three quarters of a batch of short rewrites would be padding. Any Hugging Face
causal LM with a `DynamicCache` works.

Shapes: P prompts, N = P × G completions, Tp prompt tokens, T completion tokens, D hidden width, V vocabulary; in a
packed row L positions, U of them with logits, M completion tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

if TYPE_CHECKING:  # takes seconds to import, and only types are needed
    from transformers import PreTrainedModel

MAX_PACKED = 512  # positions in one packed row: attention is quadratic in them


class _ModelOutput(Protocol):
    """What is read of a causal LM's output."""

    logits: Tensor
    """(batch, positions, V)."""
    hidden_states: tuple[Tensor, ...]
    """(batch, positions, D) of each layer, where requested."""


class Scores(NamedTuple):
    """What `score` returns; 0 where masked."""

    logprobs_N_T: Tensor
    """float32, log-probabilities of the sampled tokens, with gradients."""
    entropy_N_T: Tensor
    """float32, nats, of the policy at each token, without gradients."""
    hidden_N_T_D: Tensor | None = None
    """float32, the last layer's state that each token was predicted from, with gradients; None unless requested."""


@dataclass(frozen=True)
class Rollout:
    """One batch of sampled completions, N = P × G rows, the G rows of a query in one block."""

    prompt_ids_P_Tp: Tensor
    """int64, prompt tokens, padded on the left; N rows where `prompt_per_row`."""
    prompt_mask_P_Tp: Tensor
    """int64, 1 on prompt tokens, 0 on padding."""
    tokens_N_T: Tensor
    """int64, sampled tokens, padded on the right with the end token."""
    mask_N_T: Tensor
    """float32, 1 on sampled tokens, the end token included; 0 on padding and on rows that are left out."""
    logprobs_N_T: Tensor
    """float32, log-probabilities of the sampled tokens at the sampling temperature."""
    group_size: int
    """G, completions of one query."""
    hidden_N_T_D: Tensor | None = None
    """float32, the last layer's state that each token was drawn from, for a value head; None unless requested."""
    prompt_per_row: bool = False
    """Whether each row has a prompt of its own, as on later turns, where prompts hold the row's last rewrite."""

    @property
    def rows_per_prompt(self) -> int:
        """Number of completions of each prompt."""
        return 1 if self.prompt_per_row else self.group_size

    def completions(self) -> list[list[int]]:
        """The sampled token ids of each row, without padding."""
        lengths = self.mask_N_T.sum(dim=1).int().tolist()
        return [row[:length] for row, length in zip(self.tokens_N_T.tolist(), lengths, strict=True)]

    def select(self, prompts_P: Tensor) -> Rollout:
        """The groups of some queries, truncated to the longest prompt and the longest completion among them."""
        rows_N = self.rows_of(prompts_P)
        longest = int(self.mask_N_T[rows_N].sum(dim=1).max())
        prompt_rows = rows_N if self.prompt_per_row else prompts_P
        width = int(self.prompt_mask_P_Tp[prompt_rows].sum(dim=1).max())
        return Rollout(
            self.prompt_ids_P_Tp[prompt_rows, -width:],
            self.prompt_mask_P_Tp[prompt_rows, -width:],
            self.tokens_N_T[rows_N, :longest],
            self.mask_N_T[rows_N, :longest],
            self.logprobs_N_T[rows_N, :longest],
            self.group_size,
            None if self.hidden_N_T_D is None else self.hidden_N_T_D[rows_N, :longest],
            self.prompt_per_row,
        )

    def to(self, device: torch.device | str) -> Rollout:
        """The same on another device."""
        hidden_N_T_D = self.hidden_N_T_D
        return Rollout(
            self.prompt_ids_P_Tp.to(device),
            self.prompt_mask_P_Tp.to(device),
            self.tokens_N_T.to(device),
            self.mask_N_T.to(device),
            self.logprobs_N_T.to(device),
            self.group_size,
            None if hidden_N_T_D is None else hidden_N_T_D.to(device),
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
    """A rollout of given completions, equally many for each prompt, to be scored; `logprobs_N_T` is 0, and so is the
    mask of an empty completion."""
    ids_P_Tp, mask_P_Tp = pad_left(prompts, pad_id, device)
    tokens_N_T, mask_N_T = pad_right(completions, eos_id, device)
    return Rollout(
        ids_P_Tp, mask_P_Tp, tokens_N_T, mask_N_T, torch.zeros_like(mask_N_T), len(completions) // len(prompts)
    )


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
        keep_hidden: fill `Rollout.hidden_N_T_D`.
    """
    device = next(model.parameters()).device
    ids_P_Tp, mask_P_Tp = pad_left(prompts, pad_id, device)
    positions_P_Tp = (mask_P_Tp.cumsum(dim=1) - 1).clamp(min=0)
    settings = {"use_cache": True, "output_hidden_states": keep_hidden}
    out = model(input_ids=ids_P_Tp, attention_mask=mask_P_Tp, position_ids=positions_P_Tp, logits_to_keep=1, **settings)
    cache, active = out.past_key_values, torch.arange(len(prompts) * group_size, device=device)
    logits, states = (part.repeat_interleave(group_size, dim=0) for part in _last(out, keep_hidden))
    positions, attention = (x.repeat_interleave(group_size, dim=0) for x in (mask_P_Tp.sum(dim=1), mask_P_Tp))
    if group_size > 1:
        cache.batch_repeat_interleave(group_size)
    tokens_N_T = torch.full((len(active), max_new_tokens), eos_id, device=device)
    logprobs_N_T, mask_N_T = torch.zeros((2, len(active), max_new_tokens), device=device)
    hidden_N_T_D = torch.zeros((len(active), max_new_tokens, states.shape[1]), device=device)
    for step in range(max_new_tokens):
        token, logprob = _draw(logits, temperature, generator)
        tokens_N_T[active, step], logprobs_N_T[active, step], mask_N_T[active, step] = token, logprob, 1.0
        hidden_N_T_D[active, step] = states.float()
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
        ids_P_Tp, mask_P_Tp, tokens_N_T[:, longest], mask_N_T[:, longest], logprobs_N_T[:, longest], group_size,
        hidden_N_T_D[:, longest] if keep_hidden else None,
    )  # fmt: skip


def _last(out: _ModelOutput, keep_hidden: bool) -> tuple[Tensor, Tensor]:
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


def score(model: PreTrainedModel, rollout: Rollout, temperature: float = 1.0, hidden: bool = False) -> Scores:
    """Log-probability and entropy of every sampled token, and the states they are predicted from if `hidden`.

    The first token of a completion is predicted at its prompt's last position, the others at the token before them;
    logits are computed at no other position. Rows whose mask is all 0 cost nothing.
    """
    mask_N_T = rollout.mask_N_T.bool()
    parts = [_score_packed(model, part, temperature, hidden) for part in packed_chunks(rollout)]
    logprobs, entropies, states = zip(*parts, strict=True)
    empty_N_T = torch.zeros_like(rollout.mask_N_T)
    logprobs_N_T = empty_N_T.masked_scatter(mask_N_T, torch.cat(logprobs))
    entropy_N_T = empty_N_T.masked_scatter(mask_N_T, torch.cat(entropies))
    if not hidden:
        return Scores(logprobs_N_T, entropy_N_T)
    states_M_D = torch.cat(states)
    mask_N_T_D = mask_N_T[:, :, None].expand(-1, -1, states_M_D.shape[1])
    hidden_N_T_D = states_M_D.new_zeros(mask_N_T_D.shape).masked_scatter(mask_N_T_D, states_M_D)
    return Scores(logprobs_N_T, entropy_N_T, hidden_N_T_D)


def packed_chunks(rollout: Rollout) -> list[Rollout]:
    """The groups of the rollout in order, in chunks of at most `MAX_PACKED` positions, or of a single group."""
    fed_tokens_P = rollout.mask_N_T[:, 1:].sum(dim=1).reshape(-1, rollout.group_size).sum(dim=1)
    prompt_tokens_P = rollout.prompt_mask_P_Tp.sum(dim=1).reshape(len(fed_tokens_P), -1).sum(dim=1)
    parts: list[list[int]] = [[]]
    filled = 0
    for prompt, size in enumerate((prompt_tokens_P + fed_tokens_P).tolist()):
        if filled + size > MAX_PACKED and parts[-1]:
            parts.append([])
            filled = 0
        parts[-1].append(prompt)
        filled += size
    return [rollout.select(torch.tensor(part, device=rollout.mask_N_T.device)) for part in parts]


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
    tokens_M = rollout.tokens_N_T[rollout.mask_N_T.bool()]
    logprobs_M, entropy_U = _LogSoftmaxAt.apply(out.logits[0], row.predictor_M, tokens_M, temperature)
    states_M_D = out.hidden_states[-1][0, row.predicting_U][row.predictor_M].float() if hidden else None
    return logprobs_M, entropy_U[row.predictor_M], states_M_D


def _forward(model: PreTrainedModel, row: _PackedRow, hidden: bool) -> _ModelOutput:
    """One forward pass, with logits at the predicting positions only."""
    visible_L_L = torch.zeros(row.visible_L_L.shape, dtype=model.dtype, device=model.device)
    visible_L_L.masked_fill_(~row.visible_L_L, torch.finfo(model.dtype).min)
    return model(
        input_ids=row.ids_L[None],
        attention_mask=visible_L_L[None, None],
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
    visible_L_L: Tensor
    """bool, [i, j]: whether position i attends to position j."""
    predicting_U: Tensor
    """Positions at which logits are computed."""
    predictor_M: Tensor
    """For each sampled token, the index in `predicting_U` of the position that predicts it."""


def _pack(rollout: Rollout) -> _PackedRow:
    """The rollout as one row without padding, each prompt once."""
    prompt_mask, mask = rollout.prompt_mask_P_Tp.bool(), rollout.mask_N_T.bool()
    device, g = mask.device, rollout.rows_per_prompt
    lengths_P = prompt_mask.sum(dim=1)
    prompt, column = prompt_mask.nonzero(as_tuple=True)
    place = (prompt_mask.cumsum(dim=1) - 1)[prompt, column]
    # Token t − 1 of a row is an input only if there is a token t to predict.
    fed_row, fed_step = mask[:, 1:].nonzero(as_tuple=True)
    group_L = torch.cat([prompt, fed_row // g])
    row_L = torch.cat([torch.full_like(prompt, -1), fed_row])
    positions_L = torch.cat([place, lengths_P[fed_row // g] + fed_step])
    ids_L = torch.cat([rollout.prompt_ids_P_Tp[prompt, column], rollout.tokens_N_T[fed_row, fed_step]])
    visible_L_L = (group_L[:, None] == group_L) & (positions_L[:, None] >= positions_L)
    visible_L_L &= (row_L == -1) | (row_L[:, None] == row_L)
    first = len(prompt)
    predicting_U = torch.cat([lengths_P.cumsum(dim=0) - 1, torch.arange(first, first + len(fed_row), device=device)])
    predictor_N_T = torch.zeros_like(rollout.tokens_N_T)
    predictor_N_T[:, 0] = torch.arange(len(mask), device=device) // g
    predictor_N_T[fed_row, fed_step + 1] = len(lengths_P) + torch.arange(len(fed_row), device=device)
    return _PackedRow(ids_L, positions_L, visible_L_L, predicting_U, predictor_N_T[mask])


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
        ctx: _LogSoftmaxContext, logits_U_V: Tensor, rows_M: Tensor, tokens_M: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        logits = logits_U_V.float()
        logprobs_U_V = torch.log_softmax(logits if temperature == 1.0 else logits / temperature, dim=-1)
        picked_M = logprobs_U_V[rows_M, tokens_M]
        probs_U_V = logprobs_U_V.exp()
        entropy_U = -torch.linalg.vecdot(probs_U_V, logprobs_U_V)
        ctx.save_for_backward(probs_U_V, rows_M, tokens_M)
        ctx.temperature, ctx.dtype = temperature, logits_U_V.dtype
        ctx.mark_non_differentiable(entropy_U)
        return picked_M, entropy_U

    @staticmethod
    def backward(ctx: _LogSoftmaxContext, grad_M: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        probs_U_V, rows_M, tokens_M = ctx.saved_tensors
        grad_M = grad_M / ctx.temperature
        weight_U = grad_M.new_zeros(len(probs_U_V)).index_add_(0, rows_M, grad_M)
        grad_U_V = probs_U_V * -weight_U[:, None]
        grad_U_V.index_put_((rows_M, tokens_M), grad_M, accumulate=True)
        return grad_U_V.to(ctx.dtype), None, None, None
