"""What PPO, GRPO and DPO share: an update by two processes equals that of one; memory does not grow."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from agents.policy.prompt import prompt_ids
from agents.policy.rollout import sample
from agents.rl.dpo import DPO, DPOConfig
from agents.rl.grpo import GRPO, GRPOConfig
from agents.rl.learner import mean_metrics
from agents.rl.ppo import PPO, PPOConfig
from tests.agents.rl.test_grpo import QUERIES, TARGETS, rollout_and_rewards
from tests.helpers.models import small_model
from tests.helpers.processes import run_processes

LEARNERS = {
    "grpo": (GRPO, GRPOConfig(1e-2, warmup_updates=0, kl_coef=0.1, anchor_coef=0.5)),
    "ppo": (PPO, PPOConfig(1e-2, warmup_updates=0, kl_coef=0.1, anchor_coef=0.5, whiten=False)),
    # A beta of 1: of gradients as small as AdamW's epsilon, rounding would decide the direction.
    "dpo": (DPO, DPOConfig(1e-2, warmup_updates=0, anchor_coef=0.5, all_pairs=True, beta=1.0)),
}
PAIRS = list(zip(QUERIES, TARGETS, strict=True))


def make_batch(model, tokenizer):
    """Rollout and rewards: two groups with rewards, one of which is missing, and two groups without."""
    eos = tokenizer.eos_token_id
    generator = torch.Generator().manual_seed(0)
    rollout = sample(model, prompt_ids(tokenizer, QUERIES), 4, 5, eos, eos, generator=generator)
    rewards = torch.rand(4, 4, generator=generator)
    rewards[0, 1], rewards[2:] = float("nan"), float("nan")
    return rollout, rewards


def weights_after_updates(name, accelerator, parts):
    """The weights after two updates on this process's part of the batch."""
    torch.manual_seed(0)
    model, tokenizer = small_model()
    kind, config = LEARNERS[name]
    learner = kind(model, tokenizer, config, accelerator)
    rollout, rewards = make_batch(model, tokenizer)
    share = len(QUERIES) // parts
    mine = torch.arange(len(QUERIES))[accelerator.process_index * share :][:share]
    for _ in range(2):
        learner.update(rollout.select(mine), rewards[mine], [PAIRS[i] for i in mine.tolist()])
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.enable_socket
def test_two_processes_take_the_same_step_as_one(tmp_path):
    run_processes("tests.agents.rl.test_learner", tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name in LEARNERS:
        assert torch.equal(first[name], second[name])
        # A loss that is off by a millionth, which is rounding, moves one of GRPO's weights by 2.5e-5; on some machines
        # a weight or two whose gradient is nearly 0 moves further, since Adam divides a gradient by its own size.
        distance = (first[name] - weights_after_updates(name, Accelerator(cpu=True), 1)).abs()
        assert (distance > 5e-5).sum() <= 3 and distance.max() < 5e-4, name


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from Linux's /proc")
@pytest.mark.parametrize("name", list(LEARNERS))
def test_memory_does_not_grow(name):
    model, tokenizer = small_model()
    kind, config = LEARNERS[name]
    learner = kind(model, tokenizer, replace(config, learning_rate=1e-4), Accelerator(cpu=True))
    generator = torch.Generator().manual_seed(0)

    def updates(count):
        for _ in range(count):
            learner.update(*rollout_and_rewards(model, tokenizer, generator, group_size=4), PAIRS)

    updates(40)
    before = resident_bytes()
    updates(120)
    # A leaked rollout, graph or set of gradients is 0.2 MB or more an update: 24 MB.
    assert resident_bytes() - before < 6e6


def test_metrics_are_means_over_the_steps_that_have_them():
    assert mean_metrics([{"loss": 1.0, "kl": 4.0}, {"loss": 3.0}]) == {"loss": 2.0, "kl": 4.0}
    assert mean_metrics([]) == {}


if __name__ == "__main__":
    from accelerate import PartialState

    accelerator = Accelerator(cpu=True)
    torch.save(
        {name: weights_after_updates(name, accelerator, 2) for name in LEARNERS},
        Path(sys.argv[1]) / f"{accelerator.process_index}.pt",
    )
    PartialState().destroy_process_group()
