"""The online loop in a real environment: learning, exact resume, interrupts, judge failures, alarms, best student."""

import copy
import itertools
import json
import math
import signal

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from agents.policy.checkpoint import checkpoints, load_checkpoint
from agents.policy.student import Student
from agents.rl.alarms import Alarms
from agents.rl.grpo import GRPO, GRPOConfig
from agents.rl.loop import Loop, LoopConfig
from agents.supervised.sft import fine_tune, response_sequences
from agents.tracking.base import make_tracker
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import JudgeError
from qr_env.common.types import Grades
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.traffic.stream import QueryStream
from tests.helpers.fakes import FailingJudge, WordRetriever, tiny_shop
from tests.helpers.models import copy_of, same_weights, small_student

PROMPTS, GROUP = 4, 8
GUESSES = ["sofa", "refrigerator", "shoes", "black", ""]
SHOP = tiny_shop()


@pytest.fixture(scope="module")
def guesser():
    """A student that rewrites every query to any of the guesses with equal probability."""
    student = small_student()
    student.model = copy.deepcopy(student.model)
    pairs = [(query.text, guess) for query in SHOP.split("train") for guess in GUESSES] * 12
    sequences = response_sequences(student.tokenizer, pairs)
    fine_tune(student.model, student.tokenizer, sequences, learning_rate=1e-2, batch_size=4, seed=0)
    return student


@pytest.fixture
def student(guesser):
    """A copy of the guesser."""
    return Student(copy.deepcopy(guesser.model), guesser.tokenizer, "small", guesser.max_new_tokens)


def make_envs(judge=None, cls=QueryRewriteVectorEnv, max_turns=1):
    """The shop's train queries, uniformly, in blocks of `GROUP`."""
    return cls(
        shop=SHOP,
        retriever=WordRetriever(SHOP),
        judge=judge or LabelsJudge(SHOP),
        num_envs=PROMPTS * GROUP,
        group_size=GROUP,
        stream=QueryStream(SHOP.split("train"), seed=0, frequency_exponent=0.0),
        original_weight=1.0,
        max_turns=max_turns,
    )


def held_out(student):
    """Metrics on the two dev queries."""
    metrics = HeldOutEvaluator(SHOP, WordRetriever(SHOP), "dev").quick(student)
    return {"eval/score": metrics["nDCG@10"]}


def run(
    folder, student, updates, *, envs=None, state=None, evaluate=held_out, reference=None, config=None, alarms=None,
    promotion=None, **loop_config,
):  # fmt: skip
    """`Loop.run` from the start or from a checkpoint's state, with new objects."""
    torch.manual_seed(0)
    config = config or GRPOConfig(learning_rate=3e-3, kl_coef=0.01 if reference else 0.0, warmup_updates=3)
    optimizer = GRPO(student.model, student.tokenizer, config, Accelerator(cpu=True), reference=reference)
    folder.mkdir(parents=True, exist_ok=True)
    loop = Loop(
        *(student, optimizer, envs or make_envs(), LoopConfig(updates, **loop_config)),
        evaluate=evaluate,
        tracker=make_tracker("none", folder, {}, None if state is None else state["update"]),
        folder=folder,
        generator=torch.Generator().manual_seed(0),
        alarms=alarms or Alarms(window=3),
        promotion=promotion,
    )
    if state is None:
        loop.reset(seed=0)
    else:
        loop.restore(state)
    return loop.run()


def lines(folder, name="metrics.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


def online(folder):
    return [line for line in lines(folder) if line["phase"] == "online"]


def test_it_learns(tmp_path, student):
    progress = run(tmp_path, student, 60, evaluate_every=60, checkpoint_every=60)
    rewards = [line["reward"] for line in online(tmp_path)]
    assert len(rewards) == 60
    assert np.mean(rewards[-10:]) > 2 * np.mean(rewards[:5])
    assert progress.episodes == 60 * PROMPTS * GROUP


def test_metrics_have_the_names_that_the_report_reads(tmp_path, student, guesser):
    run(tmp_path, student, 2, evaluate_every=1, reference=guesser.model)
    phases = [(line["phase"], line["update"]) for line in lines(tmp_path)]
    assert phases == [("eval", 0), ("online", 1), ("eval", 1), ("online", 2), ("eval", 2)]
    names = {"update", "episodes", "reward", "reward_std", "kl", "entropy", "loss", "grad_norm"}
    names |= {"completions/mean_length", "keep_fraction", "groups/zero_variance", "judge/failed_fraction"}
    assert names | {"reward/gain", "reward/worse", "reward/length"} <= set(online(tmp_path)[0])
    assert [set(line) for line in lines(tmp_path, "timings.jsonl")] == [{"update", "episodes", "seconds"}] * 2
    samples = lines(tmp_path, "samples.jsonl")
    assert [row["update"] for row in samples] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert set(samples[0]) == {"update", "query", "rewrite", "reward", "hits_before", "hits_after"}


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, student, guesser):
    full, resumed = tmp_path / "full", tmp_path / "resumed"
    second_student = copy_of(student)
    every = {"evaluate_every": 2, "checkpoint_every": 4, "reference": guesser.model}
    run(full, student, 8, **every)
    run(resumed, second_student, 4, **every)
    assert not same_weights(second_student.model, student.model)
    # Lines that a run wrote after its last checkpoint, before it was killed:
    with (resumed / "metrics.jsonl").open("a") as out:
        out.write('{"update": 5, "phase": "online"}\n{"update": 6, "pha')
    loaded, state = load_checkpoint(resumed / "checkpoints")
    torch.rand(7)
    progress = run(resumed, loaded, 8, state=state, **every)
    assert progress.update == 8
    assert same_weights(loaded.model, student.model)
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert (resumed / name).read_bytes() == (full / name).read_bytes()
    first, second = (load_checkpoint(folder / "checkpoints") for folder in (full, resumed))
    assert same_weights(first[0].model, second[0].model)
    assert first[1]["envs"] == second[1]["envs"]
    assert torch.equal(first[1]["generator"], second[1]["generator"])
    moments = [state["optimizer"]["optimizer"]["state"] for _, state in (first, second)]
    assert all(torch.equal(moments[0][i]["exp_avg_sq"], moments[1][i]["exp_avg_sq"]) for i in moments[0])


class SecondTurnEnv(QueryRewriteVectorEnv):
    """Ignores the rewrites of the first turn, so that only the second turn can earn a reward."""

    def step(self, actions):
        return super().step([""] * len(actions) if self.simulator.turn == 0 else actions)


def test_it_learns_on_the_second_turn(tmp_path, student):
    progress = run(
        tmp_path, student, 100, envs=make_envs(cls=SecondTurnEnv, max_turns=2), evaluate_every=100, checkpoint_every=100
    )
    turns = [[line["reward"] for line in online(tmp_path) if line["turn"] == turn] for turn in (1, 2)]
    assert progress.episodes == 50 * PROMPTS * GROUP and len(turns[1]) == 50
    assert not any(turns[0])
    assert np.mean(turns[1][-10:]) > 2 * np.mean(turns[1][:5])


def test_a_run_resumed_within_an_episode_equals_an_uninterrupted_one(tmp_path, student):
    full, resumed = tmp_path / "full", tmp_path / "resumed"
    second_student = copy_of(student)
    run(full, student, 6, envs=make_envs(max_turns=2), evaluate_every=3)
    run(resumed, second_student, 3, envs=make_envs(max_turns=2), evaluate_every=3)
    loaded, state = load_checkpoint(resumed / "checkpoints")
    assert state["envs"]["simulator"]["rewrites"], "a turn has been played"
    # Sums over unaligned weights would differ in the last bit.
    assert not any(weights.data_ptr() % 64 for weights in loaded.model.parameters())
    run(resumed, loaded, 6, envs=make_envs(max_turns=2), state=state, evaluate_every=3)
    assert [(line["turn"], line["episodes"]) for line in online(full)] == [
        (1 + n % 2, PROMPTS * GROUP * (1 + n // 2)) for n in range(6)
    ]
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert (resumed / name).read_bytes() == (full / name).read_bytes()
    assert same_weights(loaded.model, student.model)


def test_a_run_killed_before_its_first_update_logs_nothing_twice(tmp_path, student):
    run(tmp_path, student, 0)
    loaded, state = load_checkpoint(tmp_path / "checkpoints")
    run(tmp_path, loaded, 1, state=state)
    assert [(line["phase"], line["update"]) for line in lines(tmp_path)] == [("eval", 0), ("online", 1), ("eval", 1)]


class InterruptedEnv(QueryRewriteVectorEnv):
    """Raises SIGINT `signals` times in its third step."""

    steps = 0
    signals = 1

    def step(self, actions):
        self.steps += 1
        if self.steps == 3:
            for _ in range(self.signals):
                signal.raise_signal(signal.SIGINT)
        return super().step(actions)


def test_ctrl_c_stops_after_the_update_with_a_checkpoint(tmp_path, student):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    progress = run(tmp_path, student, 10, envs=make_envs(cls=InterruptedEnv))
    assert (progress.stopped, progress.update) == (True, 3)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    loaded, state = load_checkpoint(tmp_path / "checkpoints")
    assert state["update"] == 3
    assert same_weights(loaded.model, student.model)
    assert not run(tmp_path, loaded, 4, state=state).stopped
    assert [line["update"] for line in online(tmp_path)] == [1, 2, 3, 4]


def test_sigterm_stops_after_the_update(tmp_path, student):
    class TerminatedEnv(QueryRewriteVectorEnv):
        def step(self, actions):
            signal.raise_signal(signal.SIGTERM)
            return super().step(actions)

    progress = run(tmp_path, student, 10, envs=make_envs(cls=TerminatedEnv))
    assert (progress.stopped, progress.update) == (True, 1)


def test_a_second_ctrl_c_stops_at_once_and_leaves_the_last_checkpoint(tmp_path, student):
    envs = make_envs(cls=InterruptedEnv)
    envs.signals = 2
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, student, 10, envs=envs)
    assert signal.getsignal(signal.SIGINT) is handler
    assert load_checkpoint(tmp_path / "checkpoints")[1]["update"] == 0


def test_a_judge_that_is_down_stops_the_run_and_changes_no_weight(tmp_path, student, guesser):
    with pytest.raises(JudgeError, match=r"\d\d% of the rewards were missing at update 1:.*`resume`"):
        run(tmp_path, student, 10, envs=make_envs(FailingJudge()))
    assert same_weights(student.model, guesser.model)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["update-000000", "update-000001"]
    assert online(tmp_path)[0]["judge/failed_fraction"] > 0.5


def test_a_resumed_run_first_repeats_the_evaluation_that_failed(tmp_path, student):
    full, resumed, failing = tmp_path / "full", tmp_path / "resumed", [2, 4]
    second_student = copy_of(student)

    def fail_at_some_updates(student):
        done = online(resumed)[-1]["update"] if (resumed / "metrics.jsonl").is_file() and online(resumed) else 0
        if done in failing:
            failing.remove(done)
            raise JudgeError("unavailable")
        return held_out(student)

    run(full, student, 4, evaluate_every=2)
    with pytest.raises(JudgeError, match="unavailable"):
        run(resumed, second_student, 4, evaluate_every=2, evaluate=fail_at_some_updates)
    loaded, state = load_checkpoint(resumed / "checkpoints")
    with pytest.raises(JudgeError, match="unavailable"):
        run(resumed, loaded, 4, evaluate_every=2, state=state, evaluate=fail_at_some_updates)
    loaded, state = load_checkpoint(resumed / "checkpoints")
    assert (state["update"], state["progress"]["evaluated"]) == (4, 2)
    run(resumed, loaded, 4, evaluate_every=2, state=state, evaluate=fail_at_some_updates)
    assert (resumed / "metrics.jsonl").read_bytes() == (full / "metrics.jsonl").read_bytes()
    best, last = (load_checkpoint(folder / "checkpoints")[1]["progress"] for folder in (full, resumed))
    assert last | {"seconds": 0} == best | {"seconds": 0}
    assert same_weights(loaded.model, student.model)


class Keeper(Student):
    """Keeps every second query."""

    def texts(self, rollout, queries):
        return [text if n % 2 else "" for n, text in enumerate(super().texts(rollout, queries))]


def test_kept_queries_do_not_hide_a_judge_that_is_down(tmp_path, student):
    keeper = Keeper(student.model, student.tokenizer, "keeper", student.max_new_tokens)
    with pytest.raises(JudgeError, match="missing at update 1"):
        run(tmp_path, keeper, 10, envs=make_envs(FailingJudge()))


class PartialJudge:
    """Has no verdict for one query."""

    name = "partial"

    def __init__(self):
        self.inner = LabelsJudge(SHOP)

    def grade(self, queries, rows_NK):
        probs_NK4 = self.inner.grade(queries, rows_NK).probs_NK4.copy()
        probs_NK4[[query.text == "sofa" for query in queries]] = np.nan
        return Grades(probs_NK4)


def test_a_query_without_verdicts_is_masked_and_counted(tmp_path, student):
    run(tmp_path, student, 3, envs=make_envs(PartialJudge()))
    assert any(0 < line["judge/failed_fraction"] < 0.5 for line in online(tmp_path))
    assert not any(math.isnan(line[name]) for line in online(tmp_path) for name in ("reward", "reward_std"))
    assert all(torch.isfinite(parameter).all() for parameter in student.model.parameters())


def test_alarms_are_in_the_metrics_and_do_not_stop_the_run(tmp_path, student, capsys):
    run(tmp_path, student, 3, alarms=Alarms(window=2, min_entropy=99.0))
    alarms = [line.get("alarms") for line in online(tmp_path)]
    assert alarms[0] is None
    assert all(alarms[1:]) and all("stopped exploring" in message for raised in alarms[1:] for message in raised)
    assert "ALARM at update 2" in capsys.readouterr().err


def test_the_best_student_is_saved(tmp_path, student):
    scores, evaluated = iter([0.1, 0.5, 0.5, 0.3]), []

    def evaluate(student):
        evaluated.append(copy.deepcopy(student.model))
        return {"eval/score": next(scores)}

    progress = run(tmp_path, student, 3, evaluate=evaluate, evaluate_every=1)
    best = Student.load(tmp_path / "checkpoints" / "best")
    assert progress.best_score == 0.5
    assert [same_weights(best.model, model) for model in evaluated] == [False, True, False, False]


def test_the_best_student_is_chosen_again_when_the_shop_changes(tmp_path, student):
    values, evaluated = iter([(0.5, 0.0), (0.6, 0.0), (0.2, 1.0), (0.3, 1.0), (0.1, 1.0)]), []

    def evaluate(student):
        evaluated.append(copy.deepcopy(student.model))
        return dict(zip(("eval/score", "stream/shifts"), next(values), strict=True))

    run(tmp_path, student, 2, evaluate=evaluate, evaluate_every=1)
    loaded, state = load_checkpoint(tmp_path / "checkpoints")
    assert (state["progress"]["best_score"], state["progress"]["shifts"]) == (0.2, 1.0)
    progress = run(tmp_path, loaded, 4, evaluate=evaluate, evaluate_every=1, state=state)
    best = Student.load(tmp_path / "checkpoints" / "best")
    assert progress.best_score == 0.3
    assert [same_weights(best.model, model) for model in evaluated] == [False, False, False, True, False]


def test_the_last_update_is_evaluated_and_saved_for_any_interval(tmp_path, student):
    run(tmp_path, student, 3, evaluate_every=2, checkpoint_every=50)
    assert [line["update"] for line in lines(tmp_path) if line["phase"] == "eval"] == [0, 2, 3]
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "update-000003"


def test_two_runs_with_one_seed_write_the_same(tmp_path, student):
    second_student = copy_of(student)
    for name, one in (("a", student), ("b", second_student)):
        run(tmp_path / name, one, 3)
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_stream_does_not_repeat_itself(tmp_path, student):
    run(tmp_path, student, 4)
    queries = [tuple(row["query"] for row in rows) for _, rows in itertools.groupby(
        lines(tmp_path, "samples.jsonl"), key=lambda row: row["update"])]  # fmt: skip
    assert len(set(queries)) > 1
