"""`qr bench online` on a tiny shop: both sides learn the same, the roofline is counted right. Speed is not tested."""

import json
import math

import pytest
import torch

from agents.policy.prompt import prompt_ids, prompt_text
from agents.policy.rollout import Rollout
from runs.bench.online import bench
from runs.bench.roofline import Machine, Shape, rooflines
from runs.bench.update import PHASES, Stopwatch
from tests.helpers.fakes import WordRetriever, tiny_shop
from tests.helpers.models import small_model, small_student


@pytest.mark.filterwarnings("ignore")  # TRL's
def test_every_figure_is_reported(tmp_path, monkeypatch):
    student = small_student(max_new_tokens=3)
    student.save(tmp_path)
    shop, name = tiny_shop(), str(tmp_path)
    report = bench(shop, WordRetriever(shop), (name,), rounds=2, sizes={name: (3, 4)})
    assert set(report["ratios"]) == {f"{name}: TRL / ours", f"{name}: TRL / ours, CPU seconds"}
    assert all(math.isfinite(ratio) and ratio > 0 for ratio in report["ratios"].values())
    assert set(report["phases"][name]) == set(PHASES)
    facts = report["updates"][name]
    assert facts["mean length TRL"] == pytest.approx(3, abs=0.2)  # an untrained student hardly ever ends by itself
    assert facts["mean length ours"] == pytest.approx(3, abs=0.2)
    assert report["phases"][name]["sample"]["above roofline"] > 0
    json.dumps(report)


def test_trl_reads_the_prompts_that_we_read():
    _, tokenizer = small_model()
    queries = ["red couch", "fridge"]
    assert tokenizer([prompt_text(query) for query in queries])["input_ids"] == prompt_ids(tokenizer, queries)


def test_the_stopwatch_reports_the_rest_as_other():
    watch = Stopwatch()
    watch.timed("sample", lambda: None)()
    taken = watch.take(5.0)
    assert taken["other"] == pytest.approx(5.0, abs=0.1)
    assert sum(taken.values()) == pytest.approx(5.0)
    assert watch.take(1.0)["other"] == 1.0


def test_operations_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    model, _ = small_model(hidden=64)
    shape = Shape.of(model)
    model.set_attn_implementation("eager")  # torch counts products, not the fused attention
    ids = torch.randint(5, 60, (1, 9))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=ids)
    norms = (
        5 * 64
    )  # norm weights are in no matrix product; eager attention computes all 9 × 9 pairs, without the causal mask
    expected = shape.operations(9, 9, 9 * 9) - 2 * norms * 9
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-3)


def test_the_roofline_of_a_batch_by_hand():
    shape = Shape(weights=100, inner=60, head=40, width=2, layers=1, vocabulary=20)
    tokens = torch.zeros((2, 3), dtype=torch.long)
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    prompt = torch.ones((1, 4), dtype=torch.long)
    rollout = Rollout(prompt, prompt, tokens, mask, torch.zeros(2, 3), 2)
    counted = rooflines(shape, rollout, torch.tensor([0]), Machine(flops=1.0, bandwidth=1e12))
    # Read: 4 + 2 positions; predicted: 1 + 2; attended: 1+2+3+4 in the prompt, then 5 and 6.
    forward = 2 * 60 * 6 + 2 * 40 * 3 + 4 * 2 * (10 + 5 + 6)
    assert counted["score"] == forward
    assert counted["backward"] == 2 * forward
    assert counted["sample"] == forward
    moved = rooflines(shape, rollout, torch.tensor([0]), Machine(flops=1e12, bandwidth=1.0))
    assert moved["optimizer"] == 8 * 400
    assert moved["sample"] == 3 * 400 + 16 * (5 + 6)
    assert rooflines(shape, rollout, torch.tensor([], dtype=torch.long), Machine(1.0, 1.0)).keys() == {"sample"}
