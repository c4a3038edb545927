"""Sampling with shared prompts equals one plain forward pass a row; end tokens, padding, prompts of later turns."""

import pytest
import torch

from agents.policy.prompt import prompt_ids, retry_prompt_text
from agents.policy.rollout import _draw, pad_left, pad_right, sample
from tests.helpers.models import small_model

QUERIES = ["couch", "red running shoes", "fridge freezer black white"]


@pytest.fixture(scope="module")
def sampled():
    model, tokenizer = small_model()
    prompts = prompt_ids(tokenizer, QUERIES)
    generator = torch.Generator().manual_seed(1)
    eos = tokenizer.eos_token_id
    return model, prompts, sample(model, prompts, 5, 9, eos, eos, generator=generator)


def plain_logprobs(model, prompt, tokens, temperature=1.0):
    """Log-probabilities of `tokens` after `prompt` from one plain forward pass without cache or padding."""
    ids = torch.tensor([prompt + tokens])
    logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float() / temperature
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(tokens)[:, None]).squeeze(1)


def test_sampled_logprobs_are_those_of_a_plain_pass(sampled):
    model, prompts, rollout = sampled
    for row, tokens in enumerate(rollout.completions()):
        expected = plain_logprobs(model, prompts[row // 5], tokens)
        torch.testing.assert_close(rollout.logprobs_NT[row, : len(tokens)], expected, atol=1e-5, rtol=0)


def test_the_end_token_ends_a_row_and_counts():
    model, tokenizer = small_model()
    eos = tokenizer.eos_token_id
    with torch.no_grad():
        prompts = prompt_ids(tokenizer, QUERIES)
        rollout = sample(model, prompts, 64, 12, eos, eos, generator=torch.Generator().manual_seed(0))
    for row in rollout.completions():
        assert eos not in row[:-1]
        assert len(row) == rollout.tokens_NT.shape[1] or row[-1] == eos or len(row) == 12


def test_greedy_is_the_argmax_at_every_step():
    model, tokenizer = small_model()
    eos = tokenizer.eos_token_id
    prompt = prompt_ids(tokenizer, ["couch"])
    row = sample(model, prompt, 1, 6, eos, eos, temperature=0.0).completions()[0]
    ids = list(prompt[0])
    for token in row:
        assert model(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item() == token
        ids.append(token)


def test_the_same_generator_state_draws_the_same(sampled):
    model, prompts, rollout = sampled
    eos = model.config.eos_token_id
    again = sample(model, prompts, 5, 9, eos, eos, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.tokens_NT, rollout.tokens_NT)


def test_a_selection_has_the_groups_without_excess_padding(sampled):
    _, prompts, rollout = sampled
    part = rollout.select(torch.tensor([0, 1]))
    assert part.prompt_ids_PTp.shape[1] == len(prompts[1]) < rollout.prompt_ids_PTp.shape[1]
    assert part.completions() == rollout.completions()[:10]
    assert rollout.select(torch.tensor([2])).completions() == rollout.completions()[10:]


def test_tokens_are_drawn_with_the_policys_probabilities():
    probs = torch.tensor([0.5, 0.0, 0.2, 0.3])
    tokens, logprobs = _draw(probs.log().repeat(20_000, 1), 1.0, torch.Generator().manual_seed(0))
    shares = torch.bincount(tokens, minlength=4) / len(tokens)
    assert shares[1] == 0
    torch.testing.assert_close(shares, probs, atol=0.015, rtol=0)
    torch.testing.assert_close(logprobs, probs.log()[tokens], atol=1e-5, rtol=0)
    squared, _ = _draw(probs.log().repeat(20_000, 1), 0.5, torch.Generator().manual_seed(0))
    expected = probs.square() / probs.square().sum()
    torch.testing.assert_close(torch.bincount(squared, minlength=4) / 20_000, expected, atol=0.015, rtol=0)


def test_padding_sides():
    assert pad_left([[1], [2, 3]], 0)[0].tolist() == [[0, 1], [2, 3]]
    assert pad_right([[1], [2, 3]], 9)[0].tolist() == [[1, 9], [2, 3]]
    assert pad_right([[1], [2, 3]], 9)[1].tolist() == [[1.0, 0.0], [1.0, 1.0]]


def test_the_prompt_of_a_later_turn_holds_the_last_rewrite_and_its_results():
    assert retry_prompt_text("couch\nblue", "sofa", " Lindholm sofa |\nFrosta ") == (
        "Query: couch blue\nTried: sofa\nFound: Lindholm sofa | Frosta\nRewrite:"
    )
    assert len(retry_prompt_text("q" * 999, "r" * 999, "f" * 999)) < 700
