"""Promotion: bound on false ones, bad candidates never serve all traffic, alarms roll back, a resumed run agrees."""

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
from agents.serving.promotion import Promotion, PromotionConfig, Trial, shopper_value
from agents.tracking.base import make_tracker
from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from runs.bench.promotion import generated_differences, run_trial
from tests.agents.rl.test_loop import GROUP, PROMPTS, SHOP, held_out, lines, make_envs, online, run
from tests.helpers.fakes import CountingJudge, FailingJudge
from tests.helpers.models import copy_of, same_weights, small_student, student_trained_on

QUICK = PromotionConfig(every=2, min_pairs=8, queries=400)


def test_of_200_candidates_that_are_no_better_at_most_5_percent_are_promoted():
    ends = [
        run_trial(PromotionConfig(), generated_differences(np.random.default_rng(seed), 0.0))[0].stage
        for seed in range(200)
    ]
    assert set(ends) <= {"promoted", "rolled back"}
    assert ends.count("promoted") <= 10


def test_with_spend_the_bound_is_the_runs():
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
    assert np.mean([one.pairs_seen for one, _ in ends]) < 600


@pytest.mark.parametrize(("effect", "queries"), [(0.02, 1500), (0.05, 450)])
def test_a_better_candidate_is_promoted_within_a_number_of_queries(effect, queries):
    ends = [
        run_trial(PromotionConfig(), generated_differences(np.random.default_rng(seed), effect)) for seed in range(60)
    ]
    assert sum(one.stage == "promoted" and one.pairs_seen <= queries for one, _ in ends) >= 48
    assert all(PromotionConfig().canary in traffic for one, traffic in ends if one.stage == "promoted")


def test_an_equal_candidate_is_rolled_back_early():
    one, _ = run_trial(PromotionConfig(), np.zeros)
    assert (one.stage, one.pairs_seen < 1200, one.evidence()["share_worse"]) == ("rolled back", True, 0.0)


def test_few_pairs_or_many_missing_ones_do_not_promote():
    one, _ = run_trial(PromotionConfig(), lambda n: np.full(n, 0.9))
    assert (one.stage, one.pairs_seen) == ("promoted", 256)
    one, traffic = run_trial(PromotionConfig(), lambda n: np.where(np.arange(n) % 3 == 0, np.nan, 0.9))
    assert (one.stage, max(traffic)) == ("rolled back", 0.0)
    assert one.evidence()["missing"] == one.pairs_seen - one.evidence()["pairs"] > one.pairs_seen / 4


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
    """A student trained on the best rewrites of the shop."""
    return student_trained_on([(query.text, SHOP.oracle[query.id]) for query in SHOP.split("train")])


def promotion_in(folder, serving=None, config=QUICK):
    """A promotion in a run's folder; `serving` already serves there."""
    promotion = Promotion(config, folder / "checkpoints")
    if serving is not None:
        promotion.begin(serving, 0, make_tracker("none", folder, {}))
    return promotion


def events(folder):
    return [line["event"] for line in lines(folder, "promotions.jsonl")]


NO_LEARNING = GRPOConfig(learning_rate=0.0, kl_coef=0.0)
NO_EVALUATION = {"evaluate_every": 99, "checkpoint_every": 99}


def test_in_the_loop_a_bad_candidate_never_reaches_full_traffic(tmp_path, good):
    promotion = promotion_in(tmp_path, good)
    run(tmp_path, small_student(), 14, config=NO_LEARNING, promotion=promotion, **NO_EVALUATION)
    assert "promoted" not in events(tmp_path) and "canary" not in events(tmp_path)
    assert all(line["serve/canary"] == 0.0 for line in online(tmp_path))
    record = next(line for line in lines(tmp_path, "promotions.jsonl") if line["event"] == "rolled back")
    assert (record["reason"], record["candidate"], record["serving"]) == ("worse", "update-000002", "update-000000")
    assert record["mean_difference"] < -0.1 and record["high"] < 0.05 and record["share_worse"] > 0.5
    assert record["e_value_worse"] > 5 > 1 > record["e_value"]
    assert same_weights(Student.load(tmp_path / "checkpoints" / "serving").model, good.model)


def test_in_the_loop_a_better_candidate_is_promoted_through_a_canary(tmp_path, good):
    promotion = promotion_in(tmp_path, small_student(), PromotionConfig(every=2, min_pairs=8, queries=400, canary=0.5))
    run(tmp_path, good, 14, config=NO_LEARNING, promotion=promotion, **NO_EVALUATION)
    assert events(tmp_path)[:3] == ["shadow", "canary", "promoted"]
    assert same_weights(Student.load(tmp_path / "checkpoints" / "serving").model, good.model)
    assert (tmp_path / "checkpoints" / "serving").readlink().name == "update-000002"
    share = [line["serve/canary"] for line in online(tmp_path)]
    assert share[0] == share[-1] == 0.0 and 0.5 in share
    served = [line["serve/gain"] for line in online(tmp_path)]
    assert served[0] == 0.0 and np.mean(served[-3:]) > 0.2


def without_metrics(prefix, rows):
    return [{n: v for n, v in row.items() if not n.startswith(prefix) and n != "seconds"} for row in rows]


def test_promotion_does_not_change_what_is_learned(tmp_path):
    """It costs at most one search and one judge call an update."""
    calls = []
    for name, promotion in (("plain", None), ("guarded", promotion_in(tmp_path / "guarded"))):
        envs = make_envs(judge := CountingJudge(make_envs().simulator.judge))
        run(tmp_path / name, small_student(), 5, envs=envs, promotion=promotion, **NO_EVALUATION)
        calls.append((envs.simulator.retriever.calls, judge.calls))
    learned = [without_metrics("serve/", lines(tmp_path / name)) for name in ("plain", "guarded")]
    assert learned[0] == learned[1]
    assert all(more <= plain + 5 for plain, more in zip(*calls, strict=True))
    assert calls[1][0] > calls[0][0]


def test_a_resumed_run_decides_the_same(tmp_path, good):
    """Killed during a trial, after decisions that are not in the checkpoint."""
    full, resumed = tmp_path / "full", tmp_path / "resumed"
    config = GRPOConfig(learning_rate=1e-3, kl_coef=0.0, warmup_updates=1)
    every = {"evaluate_every": 4, "checkpoint_every": 4, "config": config}
    run(full, copy_of(good), 12, promotion=promotion_in(full, small_student()), **every)
    run(resumed, copy_of(good), 8, promotion=promotion_in(resumed, small_student()), **every)
    with (resumed / "promotions.jsonl").open("a") as out:
        out.write('{"update": 9, "event": "promoted"}\n{"upda')
    loaded, state = load_checkpoint(resumed / "checkpoints")
    assert state["promotion"]["trial"] is not None and "promoted" in events(full)
    run(resumed, loaded, 12, state=state, promotion=promotion_in(resumed), **every)
    assert (resumed / "promotions.jsonl").read_bytes() == (full / "promotions.jsonl").read_bytes()
    assert without_metrics("none", lines(resumed)) == without_metrics("none", lines(full))
    links = [(folder / "checkpoints" / "serving").readlink() for folder in (resumed, full)]
    assert links[0] == links[1]
    kept = [sorted(path.name for path in (folder / "checkpoints" / "policies").iterdir()) for folder in (resumed, full)]
    assert kept[0] == kept[1] and len(kept[0]) <= 4


def test_an_alarm_rolls_back_learner_and_candidate(tmp_path, good):
    promotion, learner = promotion_in(tmp_path, good), small_student()
    config = GRPOConfig(learning_rate=1e-2, kl_coef=0.0, warmup_updates=1)
    alarms = Alarms(window=3, min_entropy=99.0)
    run(tmp_path, learner, 3, config=config, promotion=promotion, alarms=alarms, **NO_EVALUATION)
    assert events(tmp_path) == ["shadow", "rolled back"]
    record = lines(tmp_path, "promotions.jsonl")[-1]
    assert record["reason"].startswith("alarm: entropy") and record["candidate"] == "update-000002"
    assert same_weights(learner.model, good.model)
    assert promotion.trial is None and not alarms.history
    assert load_checkpoint(tmp_path / "checkpoints")[1]["optimizer"]["optimizer"]["state"] == {}
    assert online(tmp_path)[-1]["alarms"]


def test_an_alarm_of_an_evaluation_reverts_the_promotion(tmp_path, good):
    rates = iter([0.1, 0.1, 0.5])
    promotion, learner = promotion_in(tmp_path, small_student()), copy_of(good)
    run(
        *(tmp_path, learner, 16),
        config=NO_LEARNING,
        promotion=promotion,
        evaluate_every=8,
        evaluate=lambda student: held_out(student) | {"judge/exploit_rate": next(rates)},
    )
    recorded = events(tmp_path)
    assert recorded.index("promoted") < recorded.index("rolled back") == len(recorded) - 1
    assert "exploit rate 0.50, up by 0.40" in lines(tmp_path, "promotions.jsonl")[-1]["reason"]
    assert (tmp_path / "checkpoints" / "serving").readlink().name == promotion.trusted_name
    trusted = Student.load(tmp_path / "checkpoints" / "serving").model
    assert same_weights(learner.model, trusted) and same_weights(promotion.serving.model, trusted)


def test_missing_verdicts_are_no_evidence(tmp_path, good):
    promotion = promotion_in(tmp_path, small_student())
    envs = make_envs(FailingJudge())
    envs.reset(seed=0)
    promotion.decide(2, good, None, [], make_tracker("none", tmp_path, {}))
    figures = promotion.observe(3, envs.simulator, envs.simulator.queries_P)
    assert promotion.trial.test.missing > 0
    assert len(promotion.trial.test) + promotion.trial.test.missing == PROMPTS
    assert figures["serve/pairs"] == len(promotion.trial.test)


def test_the_value_to_the_shopper_is_the_mean_of_gain_and_conversion(tmp_path):
    envs = make_envs()
    envs.reset(seed=0)
    fork = envs.simulator.fork(1)
    fork.reset(envs.simulator.queries_P)
    figures = fork.step(["sofa"] * PROMPTS).figures
    assert np.array_equal(shopper_value(figures), figures.gain)
    figures = type(figures)(*(getattr(figures, n) for n in type(figures).__dataclass_fields__ if n != "purchase"),
                            purchase=np.full(PROMPTS, 0.5, np.float32))  # fmt: skip
    assert shopper_value(figures) == pytest.approx((figures.gain + 0.5) / 2)


def test_a_fork_does_not_change_the_episode():
    envs, untouched = make_envs(), make_envs()
    for one in (envs, untouched):
        one.reset(seed=0)
    fork = envs.simulator.fork(2)
    fork.reset(envs.simulator.queries_P)
    fork.step(["black"] * 2 * PROMPTS)
    rewards = [one.step(["sofa"] * PROMPTS * GROUP)[1] for one in (envs, untouched)]
    assert np.array_equal(*rewards)
    assert envs.state_dict() == untouched.state_dict()


def test_serving_is_replaced_where_a_copy_turned_the_link_into_a_folder(tmp_path, good):
    promotion = promotion_in(tmp_path, good)
    link = tmp_path / "checkpoints" / "serving"
    target = link.resolve()
    link.unlink()
    link.mkdir()
    (link / "old").write_text("")
    promotion._serve("update-000000", good)
    assert link.is_symlink() and link.resolve() == target


def test_an_endless_run_stops_at_a_signal(tmp_path):
    class StoppedAtStep3(QueryRewriteVectorEnv):
        steps = 0

        def step(self, actions):
            self.steps += 1
            if self.steps == 3:
                signal.raise_signal(signal.SIGTERM)
            return super().step(actions)

    progress = run(
        tmp_path, small_student(), math.inf, envs=make_envs(cls=StoppedAtStep3), config=NO_LEARNING, **NO_EVALUATION
    )
    assert (progress.stopped, progress.update) == (True, 3)
    assert load_checkpoint(tmp_path / "checkpoints")[1]["update"] == 3
    assert torch.isfinite(torch.tensor(progress.seconds))


def test_a_deleted_policy_is_named(tmp_path, good):
    state = promotion_in(tmp_path, good).state_dict()
    with pytest.raises((ConfigError, RunFolderError), match="update-000000"):
        Promotion(QUICK, tmp_path / "elsewhere").load_state_dict(state, good)


def test_an_undecided_trial_doubles_the_next_and_a_promotion_resets_the_length(tmp_path, good):
    promotion, tracker = promotion_in(tmp_path, good), make_tracker("none", tmp_path, {})
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
