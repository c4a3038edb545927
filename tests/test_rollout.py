"""Sampling and scoring over a shared prompt give what the model alone gives, row by row."""

import pytest
import torch

from agents.prompt import prompt_ids
from agents.rollout import completion_logprobs, pad_left, pad_right, sample
from tests.models import small_model

QUERIES = ["couch", "red running shoes", "fridge freezer black white"]


@pytest.fixture(scope="module")
def drawn():
    model, tokenizer = small_model()
    prompts = prompt_ids(tokenizer, QUERIES)
    generator = torch.Generator().manual_seed(1)
    eos = tokenizer.eos_token_id
    return model, prompts, sample(model, prompts, 5, 9, eos, eos, generator=generator)


def alone(model, prompt, tokens, temperature=1.0):
    """Log-probabilities of `tokens` after `prompt` from one plain forward pass without cache or padding."""
    ids = torch.tensor([prompt + tokens])
    logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float() / temperature
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(tokens)[:, None]).squeeze(1)


def test_sampled_logprobs_are_those_of_the_model_alone(drawn):
    model, prompts, rollout = drawn
    for row, tokens in enumerate(rollout.completions()):
        expected = alone(model, prompts[row // 5], tokens)
        torch.testing.assert_close(rollout.logprobs_N_T[row, : len(tokens)], expected, atol=1e-5, rtol=0)


def test_scoring_equals_sampling_and_has_the_gradient_of_the_plain_pass(drawn):
    model, prompts, rollout = drawn
    logprobs, entropy = completion_logprobs(model, rollout)
    torch.testing.assert_close(logprobs * rollout.mask_N_T, rollout.logprobs_N_T, atol=1e-5, rtol=0)
    assert (entropy > 0).all()
    model.zero_grad()
    (logprobs * rollout.mask_N_T).sum().backward()
    shared = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    sum(alone(model, prompts[row // 5], tokens).sum() for row, tokens in enumerate(rollout.completions())).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(shared[name], parameter.grad, atol=2e-4, rtol=1e-3)
    model.zero_grad()


def test_the_end_token_ends_a_row_and_counts():
    model, tokenizer = small_model()
    eos = tokenizer.eos_token_id
    with torch.no_grad():
        prompts = prompt_ids(tokenizer, QUERIES)
        rollout = sample(model, prompts, 64, 12, eos, eos, generator=torch.Generator().manual_seed(0))
    for row in rollout.completions():
        assert eos not in row[:-1]
        assert len(row) == rollout.tokens_N_T.shape[1] or row[-1] == eos or len(row) == 12


def test_greedy_is_the_argmax_at_every_step():
    model, tokenizer = small_model()
    eos = tokenizer.eos_token_id
    prompt = prompt_ids(tokenizer, ["couch"])
    row = sample(model, prompt, 1, 6, eos, eos, temperature=0.0).completions()[0]
    ids = list(prompt[0])
    for token in row:
        assert model(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item() == token
        ids.append(token)


def test_the_same_generator_state_draws_the_same(drawn):
    model, prompts, rollout = drawn
    eos = model.config.eos_token_id
    again = sample(model, prompts, 5, 9, eos, eos, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.tokens_N_T, rollout.tokens_N_T)


def test_rows_are_the_prompts_groups(drawn):
    _, _, rollout = drawn
    part = rollout.rows(slice(1, 3))
    assert torch.equal(part.tokens_N_T, rollout.tokens_N_T[5:15])
    assert torch.equal(part.prompt_ids_P_Tp, rollout.prompt_ids_P_Tp[1:3])


def test_padding_sides():
    assert pad_left([[1], [2, 3]], 0)[0].tolist() == [[0, 1], [2, 3]]
    assert pad_right([[1], [2, 3]], 9)[0].tolist() == [[1, 9], [2, 3]]
    assert pad_right([[1], [2, 3]], 9)[1].tolist() == [[1.0, 0.0], [1.0, 1.0]]
