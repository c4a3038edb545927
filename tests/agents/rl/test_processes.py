"""Several processes of one run: what they exchange, and a loop that learns the same on two as on one."""

import json
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from agents.policy.checkpoint import checkpoints, load_checkpoint
from agents.policy.prompt import prompt_ids
from agents.policy.rollout import rollout_of_completions, sample
from agents.policy.scoring import score
from agents.policy.student import Student
from agents.rl.alarms import Alarms
from agents.rl.grpo import GRPO, GRPOConfig
from agents.rl.loop import Loop, LoopConfig
from agents.rl.processes import SINGLE_PROCESS, Processes, process_group
from agents.tracking.base import Trackers, make_tracker
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.traffic.stream import QueryStream, StreamShare
from tests.helpers.fakes import FailingJudge, WordRetriever, tiny_shop
from tests.helpers.models import student_trained_on
from tests.helpers.processes import run_processes

PROMPTS, GROUP, UPDATES = 4, 8, 3
SHOP = tiny_shop()
GUESSES = ["sofa", "refrigerator", "shoes", "black", ""]


class DeterministicStudent(Student):
    """Samples each query from a generator seeded by its text, so that rewrites depend on the weights alone and not on
    the number of processes."""

    def sample(self, queries, group_size=1, temperature=1.0, generator=None):
        eos, prompts, drawn = self.tokenizer.eos_token_id, prompt_ids(self.tokenizer, queries), []
        for query, prompt in zip(queries, prompts, strict=True):
            own = torch.Generator().manual_seed(zlib.crc32(query.encode()))
            settings = self.max_new_tokens, eos, eos, temperature or 1.0, own
            drawn += sample(self.model, [prompt], group_size, *settings).completions()
        rollout = rollout_of_completions(prompts, drawn, eos, eos, "cpu")
        with torch.no_grad():
            return replace(rollout, logprobs_NT=score(self.model, rollout).logprobs_NT)


def train_loop(folder, out, processes, judge=None, evaluate=lambda student: {"eval/score": 0.0, "judge/weight": 0.25}):
    """The weights after a few updates of a loop on this process's share of the queries."""
    student = DeterministicStudent.load(folder, trainable=True)
    envs = QueryRewriteVectorEnv(
        *(SHOP, WordRetriever(SHOP), judge or LabelsJudge(SHOP)),
        num_envs=PROMPTS // processes.count * GROUP,
        group_size=GROUP,
        stream=StreamShare(QueryStream(SHOP.split("train"), frequency_exponent=0.0), processes.rank, processes.count),
        original_weight=1.0,
    )
    config = GRPOConfig(1e-2, warmup_updates=0, kl_coef=0.0)
    optimizer = GRPO(student.model, student.tokenizer, config, Accelerator(cpu=True))
    out.mkdir(parents=True, exist_ok=True)
    tracker = make_tracker("none", out, {}) if processes.is_main else Trackers([])
    loop = Loop(
        *(student, optimizer, envs, LoopConfig(UPDATES, evaluate_every=2, checkpoint_every=2)),
        evaluate=evaluate, tracker=tracker, folder=out, generator=torch.Generator(), alarms=Alarms(),
        processes=processes,
    )  # fmt: skip
    loop.reset(seed=0)
    loop.run()
    assert optimizer.judge_weight == 0.25, "the main process's judge weight is set on all"
    return torch.cat([parameter.detach().flatten() for parameter in student.model.parameters()])


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def raised_error(work):
    """(type, message) of the error that `work` raises; None if it raises none."""
    try:
        work()
    except (ConfigError, JudgeError) as error:
        return type(error).__name__, str(error)
    return None


def raise_config_error():
    raise ConfigError("no")


def exchange_results(processes):
    """Results of every method on this process."""
    rank, calls = processes.rank, []
    metrics = {"reward": float("nan") if rank else 1.0, "kl": 1.0 + rank, f"only/{rank}": 3.0}
    return {
        "gather": processes.gather(rank),
        "any": [processes.any(bool(rank)), processes.any(False)],
        "mean": processes.mean(metrics),
        "main_only": [processes.main_only(lambda: calls.append(rank)), calls],
        "broadcast": processes.broadcast(lambda: rank + 10),
        "main_first": processes.main_first(lambda: print("PRINTED", file=sys.stderr) or rank),
        "error": raised_error(lambda: processes.main_only(raise_config_error)),
        "seed": processes.seed(7),
    }


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """A folder with the results of two processes, and what each wrote to stderr."""
    folder = tmp_path_factory.mktemp("processes")
    guesses = [(query.text, guess) for query in SHOP.split("train") for guess in GUESSES]
    student_trained_on(guesses).save(folder / "student")
    stderr_texts = run_processes("tests.agents.rl.test_processes", folder)
    return folder, stderr_texts


pytestmark = pytest.mark.enable_socket


def test_the_processes_exchange_values(two_processes):
    folder, stderr_texts = two_processes
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    same = {"gather": [0, 1], "any": [True, False], "broadcast": 10, "error": ["ConfigError", "no"]}
    assert {name: first[name] for name in same} == {name: second[name] for name in same} == same
    assert first["mean"] == second["mean"] == {"reward": 1.0, "kl": 1.5, "only/0": 3.0, "only/1": 3.0}
    assert (first["main_only"], second["main_only"]) == ([None, [0]], [None, []])
    assert (first["main_first"], second["main_first"]) == (0, 1)
    assert ["PRINTED" in text for text in stderr_texts] == [True, False]
    assert first["seed"] == 7 != second["seed"]


def test_two_processes_with_half_the_prompts_each_learn_the_same_as_one(two_processes, tmp_path):
    folder, _ = two_processes
    first, second = (torch.load(folder / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first, second)
    single = train_loop(folder / "student", tmp_path, SINGLE_PROCESS)
    start = torch.cat([p.detach().flatten() for p in Student.load(folder / "student").model.parameters()])
    assert (single - start).abs().max() > 5e-3, "it learned"
    torch.testing.assert_close(first, single, atol=1e-4, rtol=0)  # rounding moves a weight by less


def test_metrics_are_means_over_processes_and_written_once(two_processes, tmp_path):
    folder, _ = two_processes
    train_loop(folder / "student", tmp_path, SINGLE_PROCESS)
    ours, theirs = lines(folder / "loop"), lines(tmp_path)
    steps = [("eval", 0), ("online", 1), ("online", 2), ("eval", 2), ("online", 3), ("eval", 3)]
    assert [(line["phase"], line["update"]) for line in ours] == steps
    # Metrics that are no token means: of those, the mean over processes differs from the mean over all tokens.
    exact = ("episodes", "reward", "reward_std", "reward/gain", "completions/mean_length", "groups/zero_variance",
             "keep_fraction", "judge/failed_fraction", "loss", "grad_norm")  # fmt: skip
    for our, their in zip(ours, theirs, strict=True):
        assert list(our) == list(their)
        known = [name for name in exact if name in our]
        np.testing.assert_allclose([our[n] for n in known], [their[n] for n in known], atol=1e-5, err_msg=str(known))


def test_a_judge_that_is_down_or_refused_stops_all_with_a_checkpoint(two_processes):
    folder, _ = two_processes
    for name, message in (("down", "100% of the rewards were missing at update 1"), ("gate", "unavailable")):
        kinds = [json.loads((folder / f"{rank}.json").read_text())[name] for rank in range(2)]
        assert kinds[0] == kinds[1] and kinds[0][0] == "JudgeError" and message in kinds[0][1]
    assert [path.name for path in checkpoints(folder / "down" / "checkpoints")] == ["update-000000", "update-000001"]
    assert load_checkpoint(folder / "gate" / "checkpoints")[1]["update"] == 2


def test_a_checkpoint_of_another_number_of_processes_is_refused(two_processes):
    folder, _ = two_processes
    state = load_checkpoint(folder / "loop" / "checkpoints")[1]
    assert Processes(2, 0).own_state(state) is state
    other = Processes(2, 1).own_state(state)
    queries = [part["envs"]["simulator"]["queries"] for part in (state, other)]
    assert queries[0] != queries[1] and other["optimizer"] is state["optimizer"]
    refused = ((SINGLE_PROCESS, state), (Processes(2, 1), {"update": 1}), (Processes(3, 0), state))
    for processes, saved in refused:
        with pytest.raises(ConfigError, match=rf"made by \d .* this run has {processes.count}: .*--num_processes"):
            processes.own_state(saved)


def test_a_single_process_exchanges_nothing():
    with process_group() as processes:
        assert processes is SINGLE_PROCESS
    metrics = {"reward": float("nan"), "turn": 1}
    assert SINGLE_PROCESS.mean(metrics) is not metrics and list(SINGLE_PROCESS.mean(metrics).values())[1:] == [1]
    assert (
        SINGLE_PROCESS.gather("x") == ["x"]
        and SINGLE_PROCESS.seed(3) == 3
        and SINGLE_PROCESS.own_state(state := {"update": 1}) is state
    )
    with pytest.raises(ConfigError, match="no"):
        SINGLE_PROCESS.main_only(raise_config_error)


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_a_launcher_that_shards_the_student_is_refused(kind, monkeypatch):
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    with pytest.raises(ConfigError, match=f"{kind}.*--multi_gpu"), process_group():
        pass


def work(folder):
    """The work of each of the two processes."""
    evaluations = iter([{"eval/score": 0.0, "judge/weight": 0.25}])

    def fail_second_time(student):
        if (metrics := next(evaluations, None)) is None:
            raise JudgeError("unavailable")
        return metrics

    with process_group() as processes:
        results = exchange_results(processes)
        torch.save(train_loop(folder / "student", folder / "loop", processes), folder / f"{processes.rank}.pt")
        begin = folder / "student"
        results["down"] = raised_error(lambda: train_loop(begin, folder / "down", processes, FailingJudge()))
        results["gate"] = raised_error(lambda: train_loop(begin, folder / "gate", processes, evaluate=fail_second_time))
        (folder / f"{processes.rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    work(Path(sys.argv[1]))
