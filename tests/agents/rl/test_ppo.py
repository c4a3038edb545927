"""PPO: a float64 reference of one update, the identity task, missing rewards, KL, determinism, state."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from agents.policy.prompt import prompt_ids
from agents.policy.rollout import sample
from agents.rl.ppo import PPO, PPOConfig
from tests.agents.rl.test_grpo import QUERIES, TARGETS, rollout_and_rewards
from tests.helpers.models import same_weights, small_model

PAIRS = list(zip(QUERIES, TARGETS, strict=True))


def make(config, seed=0):
    torch.manual_seed(seed)
    model, tokenizer = small_model(seed=seed)
    return model, PPO(model, tokenizer, config, Accelerator(cpu=True))


def train(config, updates, seed=0):
    model, trainer = make(config, seed)
    generator = torch.Generator().manual_seed(seed)
    rewards, metrics = torch.zeros(4, 16), []
    for _ in range(updates):
        rollout, rewards = rollout_and_rewards(model, trainer.tokenizer, generator)
        metrics.append(trainer.update(rollout, rewards))
    return model, rewards, metrics


@pytest.mark.parametrize("settings", [{"epochs": 1}, {"whiten": False, "minibatch": 2}])
def test_it_reaches_the_optimum_of_an_identity_task(settings):
    config = PPOConfig(learning_rate=3e-3, kl_coef=0.0, **settings)
    _, rewards, metrics = train(config, 120)
    assert rewards.mean() >= 0.9
    assert metrics[-1]["value/loss"] < metrics[0]["value/loss"]


def test_the_critic_learns_the_values_of_the_prompts():
    """Rewards that depend on the prompt alone: only the critic can learn."""
    model, trainer = make(PPOConfig(learning_rate=1e-3, kl_coef=0.0, value_clip=10.0, value_coef=1.0))
    generator = torch.Generator().manual_seed(0)
    rewards = torch.tensor([0.0, 0.4, -0.3, 1.0])[:, None].expand(4, 16)
    for _ in range(150):
        rollout, _ = rollout_and_rewards(model, trainer.tokenizer, generator)
        explained = trainer.update(rollout, rewards)["value/explained_variance"]
    assert explained > 0.9


def longer_rollout(model, tokenizer, seed=0, keep_hidden=False):
    eos = tokenizer.eos_token_id
    generator = torch.Generator().manual_seed(seed)
    prompts = prompt_ids(tokenizer, QUERIES)
    return sample(model, prompts, 3, 6, eos, eos, generator=generator, keep_hidden=keep_hidden)


def slow_loss(trainer, rollout, rewards_PG):
    """The loss of one PPO step in float64, row by row and token by token, from plain forward passes."""
    config, policy = trainer.config, copy.deepcopy(trainer.model).double()
    reference, head = copy.deepcopy(trainer.reference).double(), copy.deepcopy(trainer.value_head).double()
    padded = rollout.prompt_ids_PTp, rollout.prompt_mask_PTp
    prompts = [row[mask.bool()].tolist() for row, mask in zip(*padded, strict=True)]

    def plain(model, prompt, tokens):
        out = model(input_ids=torch.tensor([prompt + tokens]), output_hidden_states=True)
        logprobs = torch.log_softmax(out.logits[0, len(prompt) - 1 : -1], -1)
        return logprobs[range(len(tokens)), tokens], head(out.hidden_states[-1][0, len(prompt) - 1 : -1]).squeeze(1)

    rows = []
    for n, tokens in enumerate(rollout.completions()):
        reward = rewards_PG.flatten()[n].item()
        if math.isnan(reward):
            continue
        logprobs, values = plain(policy, prompts[n // 3], tokens)
        old = rollout.logprobs_NT[n, : len(tokens)].double()
        token_rewards = -trainer.kl_coef * (old - plain(reference, prompts[n // 3], tokens)[0].detach())
        token_rewards[-1] += reward
        running, advantages = 0.0, []
        for t in reversed(range(len(tokens))):
            following = values[t + 1].item() if t + 1 < len(tokens) else 0.0
            running = (
                token_rewards[t].item() + config.gamma * following - values[t].item()
                + config.gamma * config.gae_lambda * running
            )  # fmt: skip
            advantages.insert(0, running)
        rows.append((logprobs, old, values, advantages))
    all_advantages = np.array([a for *_, advantages in rows for a in advantages])
    mean, deviation = all_advantages.mean(), math.sqrt(all_advantages.var() + 1e-8)
    total = torch.zeros((), dtype=torch.float64)
    for logprobs, old, values, advantages in rows:
        for t, advantage in enumerate(advantages):
            ratio, a = torch.exp(logprobs[t] - old[t]), (advantage - mean) / deviation
            clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
            target = advantage + values[t].detach()
            # Before the first step old and new values are equal, so the value clip is inactive; test_losses covers it.
            total = total - torch.minimum(ratio * a, clipped * a) + config.value_coef * 0.5 * (values[t] - target) ** 2
    total = total / len(all_advantages)
    total.backward()
    return total.item(), dict(policy.named_parameters())


def test_loss_and_gradient_equal_a_slow_float64_reference():
    config = PPOConfig(kl_coef=0.3, gae_lambda=0.8, gamma=0.9, epochs=1, value_coef=0.5)
    model, trainer = make(config)
    torch.nn.init.normal_(trainer.value_head.weight, std=0.3)
    rollout = longer_rollout(model, trainer.tokenizer)
    noise = 0.3 * torch.randn(rollout.logprobs_NT.shape, generator=torch.Generator().manual_seed(3))
    rollout = replace(rollout, logprobs_NT=(rollout.logprobs_NT + noise) * rollout.mask_NT)  # off-policy
    with torch.no_grad():
        for parameter in trainer.reference.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    rewards = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    rewards[0, 1] = rewards[2, 0] = float("nan")
    slow, parameters = slow_loss(trainer, rollout, rewards)
    known = replace(rollout, mask_NT=rollout.mask_NT * ~torch.isnan(rewards).flatten()[:, None])
    batch, _ = trainer._prepare(known, rewards.flatten())
    loss, metrics = trainer.loss(batch)
    loss.backward()
    assert loss.item() == pytest.approx(slow, abs=1e-5)
    assert metrics["clip_ratio"] > 0
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter.grad, parameters[name].grad.float(), atol=1e-4, rtol=1e-3)


def test_hidden_states_kept_from_sampling_give_the_same_update():
    config = PPOConfig(learning_rate=1e-3, kl_coef=0.0)
    outcomes = []
    for keep_hidden in (False, True):
        model, trainer = make(config)
        torch.nn.init.normal_(trainer.value_head.weight, generator=torch.Generator().manual_seed(0))
        rollout = longer_rollout(model, trainer.tokenizer, keep_hidden=keep_hidden)
        outcomes.append(trainer.update(rollout, torch.arange(12.0).reshape(4, 3)))
    assert outcomes[0] == pytest.approx(outcomes[1], abs=1e-4)


def test_missing_rewards_change_nothing():
    model, trainer = make(PPOConfig(kl_coef=0.05))
    before, head = copy.deepcopy(model), copy.deepcopy(trainer.value_head)
    rollout, _ = rollout_and_rewards(model, trainer.tokenizer, torch.Generator().manual_seed(0))
    trainer.update(rollout, torch.full((4, 16), float("nan")))
    assert same_weights(model, before)
    assert same_weights(trainer.value_head, head)


def test_a_row_without_a_reward_has_no_influence():
    outcomes = []
    for token in (0, 5):  # the tokens of that row must not matter
        model, trainer = make(PPOConfig(learning_rate=1e-2, kl_coef=0.05))
        rollout, rewards = rollout_and_rewards(model, trainer.tokenizer, torch.Generator().manual_seed(0))
        rewards[1, 3], rollout.tokens_NT[19] = float("nan"), token
        trainer.update(rollout, rewards)
        outcomes.append(model)
    assert same_weights(*outcomes)


def test_it_learns_from_groups_of_one():
    model, trainer = make(PPOConfig(learning_rate=3e-3, kl_coef=0.0))
    before = copy.deepcopy(model)
    rollout, _ = rollout_and_rewards(model, trainer.tokenizer, torch.Generator().manual_seed(0), group_size=1)
    trainer.update(rollout, torch.tensor([[1.0], [0.0], [1.0], [0.0]]))
    assert not same_weights(model, before)


def test_the_kl_coefficient_bounds_the_kl_and_adapts_to_the_target():
    free = train(PPOConfig(learning_rate=3e-3, kl_coef=1e-6), 60)[2]
    penalized = train(PPOConfig(learning_rate=3e-3, kl_coef=3.0), 60)[2]
    adapted = train(PPOConfig(learning_rate=3e-3, kl_coef=0.05, kl_target=0.01), 60)[2]
    assert free[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert penalized[-1]["kl"] < free[-1]["kl"] / 4
    assert free[-1]["kl_coef"] == 1e-6
    assert adapted[-1]["kl_coef"] > 0.05
    assert adapted[-1]["kl"] < free[-1]["kl"]


def test_two_runs_with_one_seed_are_the_same_to_the_bit():
    config = PPOConfig(learning_rate=3e-3, kl_coef=0.05, minibatch=2)
    first, _, metrics = train(config, 4)
    second, _, again = train(config, 4)
    assert same_weights(first, second)
    assert metrics == again


def test_a_restored_state_continues_exactly():
    config = PPOConfig(learning_rate=3e-3, kl_coef=0.05, kl_target=0.01, minibatch=2, anchor_coef=0.1)

    def steps(trainer, model, generator):
        return [
            trainer.update(*rollout_and_rewards(model, trainer.tokenizer, generator), PAIRS) for _ in range(3)
        ]  # fmt: skip

    generator = torch.Generator().manual_seed(0)
    model, first = make(config)
    reference = copy.deepcopy(model)
    steps(first, model, generator)
    state, generator_state, restored = copy.deepcopy(first.state_dict()), generator.get_state(), copy.deepcopy(model)
    expected = steps(first, model, generator)
    second = PPO(restored, first.tokenizer, config, Accelerator(cpu=True), reference)
    second.load_state_dict(state)
    generator.set_state(generator_state)
    assert steps(second, restored, generator) == expected
    assert same_weights(restored, model)
    assert same_weights(first.value_head, second.value_head)
