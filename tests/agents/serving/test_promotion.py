"""Promotion: false ones are as rare as promised, a bad candidate never serves all, alarms roll back, resumes agree."""

import json
import math
import signal

import numpy as np
import pytest
import torch

from agents.policy.checkpoint import load_checkpoint
from agents.policy.student import Student
from agents.rl.alarms import Alarms
from agents.rl.grpo import GRPOConfig
from agents.serving.promotion import Promotion, PromotionConfig, Trial, received
from agents.tracking.base import make_tracker
from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from runs.bench.promotion import generated_differences, run_trial
from tests.agents.rl.test_loop import GROUP, PROMPTS, SHOP, held_out, lines, make_envs, online, run
from tests.helpers.fakes import CountingJudge, FailingJudge
from tests.helpers.models import copied, same_weights, small_student, taught_student

QUICK = PromotionConfig(every=2, min_pairs=8, queries=400)


def test_of_200_candidates_that_are_no_better_at_most_one_in_twenty_is_promoted():
    ends = [
        run_trial(PromotionConfig(), generated_differences(np.random.default_rng(seed), 0.0))[0].stage
        for seed in range(200)
    ]
    assert set(ends) <= {"promoted", "rolled back"}
    assert ends.count("promoted") <= 10


def test_with_spending_the_bound_is_the_whole_runs():
    config, runs = PromotionConfig(spend=True, queries=1024), 0
    for seed in range(40):
        draw = generated_differences(np.random.default_rng(1000 + seed), 0.0)
        runs += any(run_trial(config, draw, number)[0].stage == "promoted" for number in range(1, 7))
    assert runs / 40 <= 0.05
    assert sum(Trial("", number, config, 1).alpha for number in range(1, 10_000)) == pytest.approx(0.05, abs=1e-4)


def test_a_planted_bad_candidate_never_reaches_full_traffic():
    ends = [
        run_trial(PromotionConfig(), generated_differences(np.random.default_rng(seed), -0.02)) for seed in range(100)
    ]
    assert {one.stage for one, _ in ends} == {"rolled back"}
    assert max(max(traffic) for _, traffic in ends) <= PromotionConfig().canary
    assert np.mean([one.seen for one, _ in ends]) < 600


@pytest.mark.parametrize(("effect", "queries"), [(0.02, 1500), (0.05, 450)])
def test_a_better_candidate_is_promoted_within_a_stated_number_of_queries(effect, queries):
    ends = [
        run_trial(PromotionConfig(), generated_differences(np.random.default_rng(seed), effect)) for seed in range(60)
    ]
    assert sum(one.stage == "promoted" and one.seen <= queries for one, _ in ends) >= 48
    assert all(PromotionConfig().canary in traffic for one, traffic in ends if one.stage == "promoted")


def test_a_candidate_that_does_the_same_is_given_up_soon():
    one, _ = run_trial(PromotionConfig(), np.zeros)
    assert (one.stage, one.seen < 1200, one.evidence()["share_worse"]) == ("rolled back", True, 0.0)


def test_neither_little_nor_patchy_evidence_promotes():
    one, _ = run_trial(PromotionConfig(), lambda n: np.full(n, 0.9))
    assert (one.stage, one.seen) == ("promoted", 256)
    one, traffic = run_trial(PromotionConfig(), lambda n: np.where(np.arange(n) % 3 == 0, np.nan, 0.9))
    assert (one.stage, max(traffic)) == ("rolled back", 0.0)
    assert one.evidence()["missing"] == one.seen - one.evidence()["pairs"] > one.seen / 4


def test_evidence_is_plain_json_and_agrees_with_the_decision():
    one, _ = run_trial(PromotionConfig(), generated_differences(np.random.default_rng(0), 0.1))
    evidence = json.loads(json.dumps(one.evidence(), allow_nan=False))
    assert one.stage == "promoted"
    assert evidence["e_value"] >= 20 > 1 > evidence["e_value_worse"]
    assert 0 < evidence["low"] < evidence["mean_difference"] < evidence["high"]
    assert 0.01 < evidence["share_worse"] < evidence["share_better"] < 0.5
    assert json.dumps(Trial("new", 1, PromotionConfig(), 1).evidence(), allow_nan=False)


@pytest.mark.parametrize("setting", [{"canary": 0.0}, {"canary": 1.0}, {"alpha": 0.0}, {"alpha": 1.5}, {"queries": 10}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        PromotionConfig(**setting)


@pytest.fixture(scope="module")
def good():
    """A student that was taught the best rewrites of the shop."""
    return taught_student([(query.text, SHOP.oracle[query.id]) for query in SHOP.split("train")])


def guarded(folder, serving=None, config=QUICK):
    """A promotion in a run's folder, with a policy that serves already."""
    promotion = Promotion(config, folder / "checkpoints")
    if serving is not None:
        promotion.begin(serving, 0, make_tracker("none", folder, {}))
    return promotion


def events(folder):
    return [line["event"] for line in lines(folder, "promotions.jsonl")]


STILL = GRPOConfig(learning_rate=0.0, kl_coef=0.0)
QUIET = {"evaluate_every": 99, "checkpoint_every": 99}


def test_in_the_loop_a_bad_candidate_never_reaches_full_traffic(tmp_path, good):
    promotion = guarded(tmp_path, good)
    run(tmp_path, small_student(), 14, config=STILL, promotion=promotion, **QUIET)
    assert "promoted" not in events(tmp_path) and "canary" not in events(tmp_path)
    assert all(line["serve/canary"] == 0.0 for line in online(tmp_path))
    record = next(line for line in lines(tmp_path, "promotions.jsonl") if line["event"] == "rolled back")
    assert (record["reason"], record["candidate"], record["serving"]) == ("worse", "update-000002", "update-000000")
    assert record["mean_difference"] < -0.1 and record["high"] < 0.05 and record["share_worse"] > 0.5
    assert record["e_value_worse"] > 5 > 1 > record["e_value"]
    assert same_weights(Student.load(tmp_path / "checkpoints" / "serving").model, good.model)


def test_in_the_loop_a_better_candidate_is_promoted_through_a_canary(tmp_path, good):
    promotion = guarded(tmp_path, small_student(), PromotionConfig(every=2, min_pairs=8, queries=400, canary=0.5))
    run(tmp_path, good, 14, config=STILL, promotion=promotion, **QUIET)
    assert events(tmp_path)[:3] == ["shadow", "canary", "promoted"]
    assert same_weights(Student.load(tmp_path / "checkpoints" / "serving").model, good.model)
    assert (tmp_path / "checkpoints" / "serving").readlink().name == "update-000002"
    share = [line["serve/canary"] for line in online(tmp_path)]
    assert share[0] == share[-1] == 0.0 and 0.5 in share
    served = [line["serve/gain"] for line in online(tmp_path)]
    assert served[0] == 0.0 and np.mean(served[-3:]) > 0.2


def without(prefix, rows):
    return [{n: v for n, v in row.items() if not n.startswith(prefix) and n != "seconds"} for row in rows]


def test_a_guard_changes_nothing_of_what_is_learned(tmp_path):
    """And costs one search and one call of the judge an update at most."""
    calls = []
    for name, promotion in (("plain", None), ("guarded", guarded(tmp_path / "guarded"))):
        envs = make_envs(judge := CountingJudge(make_envs().simulator.judge))
        run(tmp_path / name, small_student(), 5, envs=envs, promotion=promotion, **QUIET)
        calls.append((envs.simulator.retriever.calls, judge.calls))
    assert without("serve/", lines(tmp_path / "guarded")) == without("serve/", lines(tmp_path / "plain"))
    assert all(more <= plain + 5 for plain, more in zip(*calls, strict=True))
    assert calls[1][0] > calls[0][0]


def test_a_resumed_run_decides_the_same(tmp_path, good):
    """Killed in the middle of a trial, after decisions that the checkpoint does not know."""
    whole, half = tmp_path / "whole", tmp_path / "half"
    config = GRPOConfig(learning_rate=1e-3, kl_coef=0.0, warmup_updates=1)
    every = {"evaluate_every": 4, "checkpoint_every": 4, "config": config}
    run(whole, copied(good), 12, promotion=guarded(whole, small_student()), **every)
    run(half, copied(good), 8, promotion=guarded(half, small_student()), **every)
    with (half / "promotions.jsonl").open("a") as out:
        out.write('{"update": 9, "event": "promoted"}\n{"upda')
    loaded, state = load_checkpoint(half / "checkpoints")
    assert state["promotion"]["trial"] is not None and "promoted" in events(whole)
    run(half, loaded, 12, state=state, promotion=guarded(half), **every)
    assert (half / "promotions.jsonl").read_bytes() == (whole / "promotions.jsonl").read_bytes()
    assert without("none", lines(half)) == without("none", lines(whole))
    links = [(folder / "checkpoints" / "serving").readlink() for folder in (half, whole)]
    assert links[0] == links[1]
    kept = [sorted(path.name for path in (folder / "checkpoints" / "policies").iterdir()) for folder in (half, whole)]
    assert kept[0] == kept[1] and len(kept[0]) <= 4


def test_an_alarm_rolls_learner_and_candidate_back(tmp_path, good):
    promotion, learner = guarded(tmp_path, good), small_student()
    config = GRPOConfig(learning_rate=1e-2, kl_coef=0.0, warmup_updates=1)
    alarms = Alarms(window=3, min_entropy=99.0)
    run(tmp_path, learner, 3, config=config, promotion=promotion, alarms=alarms, **QUIET)
    assert events(tmp_path) == ["shadow", "rolled back"]
    record = lines(tmp_path, "promotions.jsonl")[-1]
    assert record["reason"].startswith("alarm: entropy") and record["candidate"] == "update-000002"
    assert same_weights(learner.model, good.model)
    assert promotion.trial is None and not alarms.history
    assert load_checkpoint(tmp_path / "checkpoints")[1]["optimizer"]["optimizer"]["state"] == {}
    assert online(tmp_path)[-1]["alarms"]


def test_a_judge_that_is_being_fooled_takes_back_what_it_promoted(tmp_path, good):
    rates = iter([0.1, 0.1, 0.5])
    promotion, learner = guarded(tmp_path, small_student()), copied(good)
    run(
        *(tmp_path, learner, 16),
        config=STILL,
        promotion=promotion,
        evaluate_every=8,
        evaluate=lambda student: held_out(student) | {"judge/exploit_rate": next(rates)},
    )
    said = events(tmp_path)
    assert said.index("promoted") < said.index("rolled back") == len(said) - 1
    assert "exploit rate 0.50, up by 0.40" in lines(tmp_path, "promotions.jsonl")[-1]["reason"]
    assert (tmp_path / "checkpoints" / "serving").readlink().name == promotion.sound_name
    sound = Student.load(tmp_path / "checkpoints" / "serving").model
    assert same_weights(learner.model, sound) and same_weights(promotion.serving.model, sound)


def test_missing_verdicts_are_no_evidence(tmp_path, good):
    promotion = guarded(tmp_path, small_student())
    envs = make_envs(FailingJudge())
    envs.reset(seed=0)
    promotion.decide(2, good, None, [], make_tracker("none", tmp_path, {}))
    figures = promotion.observe(3, envs.simulator, envs.simulator.queries_P)
    assert promotion.trial.test.missing > 0
    assert len(promotion.trial.test) + promotion.trial.test.missing == PROMPTS
    assert figures["serve/pairs"] == len(promotion.trial.test)


def test_what_a_shopper_gets_is_the_gain_and_her_purchases(tmp_path):
    envs = make_envs()
    envs.reset(seed=0)
    board = envs.simulator.fork(1)
    board.reset(envs.simulator.queries_P)
    figures = board.step(["sofa"] * PROMPTS).figures
    assert np.array_equal(received(figures), figures.gain)
    figures = type(figures)(*(getattr(figures, n) for n in type(figures).__dataclass_fields__ if n != "purchase"),
                            purchase=np.full(PROMPTS, 0.5, np.float32))  # fmt: skip
    assert received(figures) == pytest.approx((figures.gain + 0.5) / 2)


def test_scoring_beside_leaves_the_episode_alone():
    envs, twin = make_envs(), make_envs()
    for one in (envs, twin):
        one.reset(seed=0)
    board = envs.simulator.fork(2)
    board.reset(envs.simulator.queries_P)
    board.step(["black"] * 2 * PROMPTS)
    rewards = [one.step(["sofa"] * PROMPTS * GROUP)[1] for one in (envs, twin)]
    assert np.array_equal(*rewards)
    assert envs.state_dict() == twin.state_dict()


def test_serving_is_replaced_in_one_step_even_where_a_copy_made_it_a_folder(tmp_path, good):
    promotion = guarded(tmp_path, good)
    link = tmp_path / "checkpoints" / "serving"
    target = link.resolve()
    link.unlink()
    link.mkdir()
    (link / "old").write_text("")
    promotion._serve("update-000000", good)
    assert link.is_symlink() and link.resolve() == target


def test_forever_ends_when_told_to(tmp_path):
    class Stopped(QueryRewriteVectorEnv):
        steps = 0

        def step(self, actions):
            self.steps += 1
            if self.steps == 3:
                signal.raise_signal(signal.SIGTERM)
            return super().step(actions)

    progress = run(tmp_path, small_student(), math.inf, envs=make_envs(cls=Stopped), config=STILL, **QUIET)
    assert (progress.stopped, progress.update) == (True, 3)
    assert load_checkpoint(tmp_path / "checkpoints")[1]["update"] == 3
    assert torch.isfinite(torch.tensor(progress.seconds))


def test_a_policy_that_is_gone_is_named(tmp_path, good):
    state = guarded(tmp_path, good).state_dict()
    with pytest.raises((ConfigError, RunFolderError), match="update-000000"):
        Promotion(QUICK, tmp_path / "elsewhere").load_state_dict(state, good)


def test_trials_that_end_undecided_grow_and_a_promotion_makes_them_short_again(tmp_path, good):
    promotion, tracker = guarded(tmp_path, good), make_tracker("none", tmp_path, {})
    rng, budgets, update = np.random.default_rng(0), [], 0
    for effect in (0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0):
        update += 2
        promotion.decide(update, good, None, [], tracker)
        budgets.append(promotion.trial.budget)
        while promotion.trial is not None:
            noise = rng.choice([-0.1, 0.1], size=2) if effect == 0.0 else np.full(2, effect)
            promotion.trial.test.add(noise + (0.0 if effect else 0.01 - noise.mean()), np.zeros(2))
            promotion.decide(update + 1, good, None, [], tracker)
    assert budgets == [50, 100, 200, 400, 400, 400, 50]
