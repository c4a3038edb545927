"""Scoring of packed rows equals sampling and one plain forward pass a row, gradients included."""

from dataclasses import replace

import pytest
import torch

from agents.policy.prompt import prompt_ids, retry_prompt_text, text_ids
from agents.policy.rollout import sample
from agents.policy.scoring import score
from tests.agents.policy.test_rollout import QUERIES, plain_logprobs
from tests.helpers.models import small_model, small_student


@pytest.fixture(scope="module")
def sampled():
    model, tokenizer = small_model()
    prompts = prompt_ids(tokenizer, QUERIES)
    generator = torch.Generator().manual_seed(1)
    eos = tokenizer.eos_token_id
    return model, prompts, sample(model, prompts, 5, 9, eos, eos, generator=generator)


def test_scoring_equals_sampling_and_has_the_gradient_of_the_plain_pass(sampled):
    model, prompts, rollout = sampled
    logprobs, entropy, _ = score(model, rollout)
    torch.testing.assert_close(logprobs, rollout.logprobs_NT, atol=1e-5, rtol=0)
    assert torch.equal(entropy > 0, rollout.mask_NT > 0)
    model.zero_grad()
    logprobs.sum().backward()
    shared = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    sum(
        plain_logprobs(model, prompts[row // 5], tokens).sum() for row, tokens in enumerate(rollout.completions())
    ).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(shared[name], parameter.grad, atol=2e-4, rtol=1e-3)
    model.zero_grad()


@pytest.mark.parametrize("packed", [1, 40, 10_000])
def test_scores_do_not_depend_on_the_size_of_a_packed_row(sampled, packed, monkeypatch):
    model, _, rollout = sampled
    monkeypatch.setattr("agents.policy.scoring.MAX_PACKED", packed)
    torch.testing.assert_close(score(model, rollout).logprobs_NT, rollout.logprobs_NT, atol=1e-5, rtol=0)


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_scores_at_a_temperature_are_those_of_a_plain_softmax(sampled, temperature):
    model, prompts, rollout = sampled
    logprobs, entropy, _ = score(model, rollout, temperature)
    model.zero_grad()
    logprobs.sum().backward()
    ours = model.get_input_embeddings().weight.grad.clone()
    model.zero_grad()
    total = torch.zeros(())
    for row, tokens in enumerate(rollout.completions()):
        expected = plain_logprobs(model, prompts[row // 5], tokens, temperature)
        torch.testing.assert_close(logprobs[row, : len(tokens)], expected, atol=1e-5, rtol=0)
        total = total + expected.sum()
    total.backward()
    torch.testing.assert_close(ours, model.get_input_embeddings().weight.grad, atol=2e-4, rtol=1e-3)
    ids = torch.tensor([prompts[0]])
    last = torch.log_softmax(model(input_ids=ids).logits[0, -1] / temperature, -1)
    assert entropy[0, 0].item() == pytest.approx(-(last.exp() * last).sum().item(), abs=1e-5)
    model.zero_grad()


def test_states_of_sampling_are_those_of_scoring_and_give_the_logits(sampled):
    model, prompts, _ = sampled
    eos = model.config.eos_token_id
    generator = torch.Generator().manual_seed(2)
    rollout = sample(model, prompts, 4, 6, eos, eos, generator=generator, keep_hidden=True)
    with torch.no_grad():
        scores = score(model, rollout, hidden=True)
        torch.testing.assert_close(scores.hidden_NTD, rollout.hidden_NTD, atol=1e-5, rtol=0)
        logprobs = torch.log_softmax(model.get_output_embeddings()(rollout.hidden_NTD), -1)
    picked = logprobs.gather(2, rollout.tokens_NT[:, :, None]).squeeze(2) * rollout.mask_NT
    torch.testing.assert_close(picked, rollout.logprobs_NT, atol=1e-5, rtol=0)


def test_masked_rows_have_score_0_and_change_no_other(sampled):
    model, _, rollout = sampled
    mask = rollout.mask_NT.clone()
    mask[[1, 7]] = 0.0
    scores = score(model, replace(rollout, mask_NT=mask))
    torch.testing.assert_close(scores.logprobs_NT, rollout.logprobs_NT * mask, atol=1e-5, rtol=0)
    assert (scores.entropy_NT[[1, 7]] == 0).all()


@pytest.mark.parametrize("groups", [[0, 1, 2], [2, 0]])
def test_rows_with_a_prompt_each_are_scored_after_it(groups):
    student = small_student(max_new_tokens=6)
    queries = [query for query in QUERIES for _ in range(4)]
    tried = [f"sofa {n}" * (n % 3) for n in range(12)]
    found = [f"red sofa {n} | blue\nsofa" for n in range(12)]
    rollout = student.sample_retry(queries, tried, found, 4, generator=torch.Generator().manual_seed(0))
    prompts = text_ids(student.tokenizer, list(map(retry_prompt_text, queries, tried, found)))
    part = rollout.select(torch.tensor(groups))
    logprobs = score(student.model, part).logprobs_NT
    torch.testing.assert_close(logprobs, part.logprobs_NT, atol=1e-5, rtol=0)
    rows = [group * 4 + place for group in groups for place in range(4)]
    for at, (row, tokens) in enumerate(zip(rows, part.completions(), strict=True)):
        expected = plain_logprobs(student.model, prompts[row], tokens)
        torch.testing.assert_close(logprobs[at, : len(tokens)], expected, atol=1e-5, rtol=0)
