"""The rollout buffer of every optimiser: sampled once, scored as often as it is learned from.

`sample` draws G completions for each of P prompts; the prompt is read once a group, finished rows leave the batch.
`score` scores completions with gradients. It lays prompts and completions out in one row without padding, each prompt
once, and an attention mask lets every completion see its own prompt and itself: of a batch of short rewrites padded to
the longest one, three quarters would be padding. Any Hugging Face causal LM with a `DynamicCache` works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

PACKED = 512  # positions that `score` lays in one row: attention is quadratic in them


class Scores(NamedTuple):
    """logprobs_N_T: of the sampled tokens, with gradients. entropy_N_T: nats, of the policy there, without. Both 0
    where masked. hidden_N_T_D: the last layer's state that each token was predicted from, with gradients, if asked."""

    logprobs_N_T: Tensor
    entropy_N_T: Tensor
    hidden_N_T_D: Tensor | None = None


@dataclass(frozen=True)
class Rollout:
    """One batch of sampled completions, N = P × G rows, a prompt's group in one block.

    prompt_ids_P_Tp, prompt_mask_P_Tp: int64, padded on the left. tokens_N_T: int64, padded on the right with the end
    token. mask_N_T: float32, 1 on sampled tokens, the end token included. logprobs_N_T: float32, of the sampled
    tokens at the sampling temperature. group_size: G. hidden_N_T_D: float32, the last layer's state that each token
    was drawn from, where the sampler was asked to keep it (a value head reads it), else None. own_prompts: the rows of
    a group, which share a query, have each a prompt of their own (a later turn's), so the prompts are N, not P.
    """

    prompt_ids_P_Tp: Tensor
    prompt_mask_P_Tp: Tensor
    tokens_N_T: Tensor
    mask_N_T: Tensor
    logprobs_N_T: Tensor
    group_size: int
    hidden_N_T_D: Tensor | None = None
    own_prompts: bool = False

    @property
    def rows_a_prompt(self) -> int:
        """How many completions continue each prompt."""
        return 1 if self.own_prompts else self.group_size

    def completions(self) -> list[list[int]]:
        """The sampled token ids of each row, without padding."""
        lengths = self.mask_N_T.sum(dim=1).int().tolist()
        return [row[:length] for row, length in zip(self.tokens_N_T.tolist(), lengths, strict=True)]

    def select(self, prompts_P: Tensor) -> Rollout:
        """The groups of some prompts, cut to their own longest prompt and completion."""
        rows_N = self.rows_of(prompts_P)
        longest = int(self.mask_N_T[rows_N].sum(dim=1).max())
        read = rows_N if self.own_prompts else prompts_P
        width = int(self.prompt_mask_P_Tp[read].sum(dim=1).max())
        return Rollout(
            self.prompt_ids_P_Tp[read, -width:],
            self.prompt_mask_P_Tp[read, -width:],
            self.tokens_N_T[rows_N, :longest],
            self.mask_N_T[rows_N, :longest],
            self.logprobs_N_T[rows_N, :longest],
            self.group_size,
            None if self.hidden_N_T_D is None else self.hidden_N_T_D[rows_N, :longest],
            self.own_prompts,
        )

    def to(self, device: torch.device | str) -> Rollout:
        """The same on another device."""
        moved: dict[str, Any] = {name: part.to(device) for name, part in vars(self).items() if isinstance(part, Tensor)}
        return replace(self, **moved)

    def rows_of(self, prompts_P: Tensor) -> Tensor:
        """Numbers of the prompts' rows, a group in one block."""
        g = self.group_size
        return (prompts_P[:, None] * g + torch.arange(g, device=prompts_P.device)).flatten()


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


def given_completions(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], eos_id: int, pad_id: int, device: Any
) -> Rollout:
    """Completions that nobody sampled, as many for each prompt, to be scored; an empty one is a row that is not there.
    Its `logprobs_N_T` are 0."""
    ids_P_Tp, mask_P_Tp = pad_left(prompts, pad_id, device)
    tokens_N_T, mask_N_T = pad_right(completions, eos_id, device)
    return Rollout(
        ids_P_Tp, mask_P_Tp, tokens_N_T, mask_N_T, torch.zeros_like(mask_N_T), len(completions) // len(prompts)
    )


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
    keep_hidden: bool = False,
) -> Rollout:
    """Draw `group_size` completions for each prompt; temperature 0 takes the most probable token.

    Args:
        model: a causal LM in eval mode or with dropout 0 (the log-probabilities must be the policy's own).
        prompts: P lists of token ids, none empty.
        generator: the source of randomness, so that a run can be repeated and resumed.
        keep_hidden: fill `Rollout.hidden_N_T_D`.
    """
    device = next(model.parameters()).device
    ids_P_Tp, mask_P_Tp = pad_left(prompts, pad_id, device)
    positions_P_Tp = (mask_P_Tp.cumsum(dim=1) - 1).clamp(min=0)
    settings = {"use_cache": True, "output_hidden_states": keep_hidden}
    out = model(input_ids=ids_P_Tp, attention_mask=mask_P_Tp, position_ids=positions_P_Tp, logits_to_keep=1, **settings)
    cache, alive = out.past_key_values, torch.arange(len(prompts) * group_size, device=device)
    logits, states = (part.repeat_interleave(group_size, dim=0) for part in _last(out, keep_hidden))
    positions, attention = (x.repeat_interleave(group_size, dim=0) for x in (mask_P_Tp.sum(dim=1), mask_P_Tp))
    if group_size > 1:
        cache.batch_repeat_interleave(group_size)
    tokens_N_T = torch.full((len(alive), max_new_tokens), eos_id, device=device)
    logprobs_N_T, mask_N_T = torch.zeros((2, len(alive), max_new_tokens), device=device)
    hidden_N_T_D = torch.zeros((len(alive), max_new_tokens, states.shape[1]), device=device)
    for step in range(max_new_tokens):
        token, logprob = _draw(logits, temperature, generator)
        tokens_N_T[alive, step], logprobs_N_T[alive, step], mask_N_T[alive, step] = token, logprob, 1.0
        hidden_N_T_D[alive, step] = states.float()
        going = (token != eos_id).nonzero().squeeze(1)
        if len(going) == 0 or step + 1 == max_new_tokens:
            break
        if len(going) < len(alive):
            # Finished rows leave the batch: on a CPU the work is what counts, and most rewrites are short.
            cache.batch_select_indices(going)
            alive, token, positions, attention = alive[going], token[going], positions[going], attention[going]
        attention = torch.cat([attention, attention.new_ones((len(alive), 1))], dim=1)
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


def _last(out: Any, keep_hidden: bool) -> tuple[Tensor, Tensor]:
    """Logits and states of the last position; the states have no columns when they are not kept."""
    logits = out.logits[:, -1]
    return logits, out.hidden_states[-1][:, -1] if keep_hidden else logits[:, :0]


def _draw(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """One token for each row and its log-probability."""
    if temperature == 0.0:
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        token = logprobs.argmax(dim=-1)
        return token, logprobs.gather(1, token[:, None]).squeeze(1)
    probs = torch.softmax(logits.float() / temperature, dim=-1)
    # Inverse of the distribution function: one random number a row, where torch.multinomial draws one a token.
    heights = probs.cumsum(dim=-1)
    # In (0, total], so that the first height that reaches it belongs to a token that can be drawn.
    drawn = (1.0 - torch.rand((len(probs), 1), generator=generator, device=probs.device)) * heights[:, -1:]
    token = torch.searchsorted(heights, drawn)
    return token.squeeze(1), probs.gather(1, token).log().squeeze(1)


def score(model: Any, rollout: Rollout, temperature: float = 1.0, hidden: bool = False) -> Scores:
    """Log-probability and entropy of every sampled token, and the states they come from if `hidden`, all (N, T, …).

    The first token of a completion is predicted by its prompt's last position, the others by the token before them; no
    other position has its logits computed. Rows whose mask is empty are not read.
    """
    mask_N_T = rollout.mask_N_T.bool()
    parts = [_score_packed(model, part, temperature, hidden) for part in chunks(rollout)]
    logprobs, entropies, states = zip(*parts, strict=True)
    empty_N_T = torch.zeros_like(rollout.mask_N_T)
    logprobs_N_T = empty_N_T.masked_scatter(mask_N_T, torch.cat(logprobs))
    entropy_N_T = empty_N_T.masked_scatter(mask_N_T, torch.cat(entropies))
    if not hidden:
        return Scores(logprobs_N_T, entropy_N_T)
    states_M_D = torch.cat(states)
    everywhere = mask_N_T[:, :, None].expand(-1, -1, states_M_D.shape[1])
    hidden_N_T_D = states_M_D.new_zeros(everywhere.shape).masked_scatter(everywhere, states_M_D)
    return Scores(logprobs_N_T, entropy_N_T, hidden_N_T_D)


def chunks(rollout: Rollout) -> list[Rollout]:
    """The rollout in runs of whole groups that have at most `PACKED` positions together, or one group each."""
    fed_P = rollout.mask_N_T[:, 1:].sum(dim=1).reshape(-1, rollout.group_size).sum(dim=1)
    read_P = rollout.prompt_mask_P_Tp.sum(dim=1).reshape(len(fed_P), -1).sum(dim=1)
    parts: list[list[int]] = [[]]
    filled = 0
    for prompt, size in enumerate((read_P + fed_P).tolist()):
        if filled + size > PACKED and parts[-1]:
            parts.append([])
            filled = 0
        parts[-1].append(prompt)
        filled += size
    return [rollout.select(torch.tensor(part, device=rollout.mask_N_T.device)) for part in parts]


def token_logits(model: Any, rollout: Rollout) -> Tensor:
    """Logits (M, V) that each of the M tokens of the mask was drawn from, row by row, with gradients; read as one row,
    so for what `chunks` gives."""
    row = _lay_out(rollout)
    return _read(model, row, False).logits[0][row.predictor_M]


def _score_packed(
    model: Any, rollout: Rollout, temperature: float, hidden: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-probabilities, entropies (both (M,)) and states (M, D) of the M tokens of the mask, row by row."""
    row = _lay_out(rollout)
    out = _read(model, row, hidden)
    tokens_M = rollout.tokens_N_T[rollout.mask_N_T.bool()]
    logprobs_M, entropy_U = _Picked.apply(out.logits[0], row.predictor_M, tokens_M, temperature)
    states_M_D = out.hidden_states[-1][0, row.predicting_U][row.predictor_M].float() if hidden else None
    return logprobs_M, entropy_U[row.predictor_M], states_M_D


def _read(model: Any, row: _Row, hidden: bool) -> Any:
    """One forward pass; logits of the predicting positions only."""
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


class _Row(NamedTuple):
    """L positions: all prompts, then all completion tokens that predict another one. predicting_U: the positions whose
    logits are wanted. predictor_M: for each sampled token, the place in predicting_U that it was drawn from."""

    ids_L: Tensor
    positions_L: Tensor
    visible_L_L: Tensor
    predicting_U: Tensor
    predictor_M: Tensor


def _lay_out(rollout: Rollout) -> _Row:
    """The whole rollout as one row without padding, each prompt once."""
    prompt_mask, mask = rollout.prompt_mask_P_Tp.bool(), rollout.mask_N_T.bool()
    device, g = mask.device, rollout.rows_a_prompt
    lengths_P = prompt_mask.sum(dim=1)
    prompt, column = prompt_mask.nonzero(as_tuple=True)
    place = (prompt_mask.cumsum(dim=1) - 1)[prompt, column]
    # Token t − 1 of a row is read only to predict token t.
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
    return _Row(ids_L, positions_L, visible_L_L, predicting_U, predictor_N_T[mask])


class _Picked(torch.autograd.Function):
    """log softmax(logits / temperature) at M chosen tokens, and the entropy (U,) of each row, without gradient.

    By hand, because vocabularies are large: the graph keeps one array of logits' size instead of four.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_U_V: Tensor, rows_M: Tensor, tokens_M: Tensor, temperature: float
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
    def backward(ctx: Any, grad_M: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        probs_U_V, rows_M, tokens_M = ctx.saved_tensors
        grad_M = grad_M / ctx.temperature
        weight_U = grad_M.new_zeros(len(probs_U_V)).index_add_(0, rows_M, grad_M)
        grad_U_V = probs_U_V * -weight_U[:, None]
        grad_U_V.index_put_((rows_M, tokens_M), grad_M, accumulate=True)
        return grad_U_V.to(ctx.dtype), None, None, None
