"""`qr online` on two real processes: one run folder, a stream divided between them, exact resume; refusals."""

import hashlib
import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

from agents.policy.checkpoint import checkpoints, load_checkpoint
from agents.rl.loop import Loop
from qr_env.common.errors import ConfigError
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.shop.sources.files import write_shop
from runs.common.query_log import load_training_shop
from runs.online import job as online
from runs.online.args import Args, EvaluationSettings, TrafficSettings, WarmStartSettings
from runs.online.checks import check_processes
from runs.online.traffic import make_stream
from tests.helpers.fakes import tiny_shop
from tests.helpers.models import same_weights
from tests.helpers.processes import run_processes

SMALL = {
    "warm_start": WarmStartSettings(pretrain=256, queries=50),
    "evaluation": EvaluationSettings(every=2),
    "updates": 5,
    "prompts": 4,
    "group_size": 4,
}
REFUSED = {
    "prompts=5 on 2 .* multiple of 2, such as 4": {"prompts": 5},
    "promotion='on' on 2 .* launch one": {"promotion": "on"},
    "drift='words' on 2 .* launch one": {"drift": "words"},
    r"traffic\.check_hits on 2 .* launch one": {"traffic": TrafficSettings(check_hits=True)},
}


def args(folder, name, **settings):
    return Args(shop=str(folder / "shop"), out=folder / name, judge="labels", **(SMALL | settings))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with an uninterrupted run of two processes ("complete"), and one that was resumed ("half")."""
    folder = tmp_path_factory.mktemp("pair")
    write_shop(tiny_shop(), folder / "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(folder / "cache"))
        run_processes("tests.runs.online.test_processes", folder)
        yield folder


def results_of_both(folder):
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


pytestmark = pytest.mark.enable_socket


def test_two_processes_make_one_run_folder(pair):
    rows = [json.loads(line) for line in (pair / "complete" / "metrics.jsonl").read_text().splitlines()]
    steps = [("eval", 0), ("online", 1), ("online", 2), ("eval", 2), ("online", 3), ("online", 4), ("eval", 4)]
    assert [(row["phase"], row["update"]) for row in rows] == [*steps, ("online", 5), ("eval", 5)]
    assert rows[-1]["episodes"] == 5 * 4 * 4
    assert checkpoints(pair / "complete" / "checkpoints")[-1].name == "update-000005"
    assert all((pair / "complete" / name).is_file() for name in ("eval.json", "report.html", "warm_pairs.jsonl"))


def test_both_end_with_the_same_weights_which_are_saved(pair):
    first, second = (found["weights"] for found in results_of_both(pair))
    assert first == second
    assert first[0] == digest(load_checkpoint(pair / "complete" / "checkpoints")[0].model)


def test_their_queries_together_are_those_of_one_process(pair):
    first, second = (found["queries"] for found in results_of_both(pair))
    stream = make_stream(args(pair, "complete"), load_training_shop(str(pair / "shop")), None)
    assert [a + b for a, b in zip(first, second, strict=True)] == [[q.id for q in stream.take(4)] for _ in first]
    assert len(first) == 5 and not any(set(a) & set(b) for a, b in zip(first, second, strict=True))


def test_a_run_interrupted_by_a_signal_to_one_process_and_resumed_equals_an_uninterrupted_one(pair):
    assert [found["stopped"] for found in results_of_both(pair)] == [[3, True]] * 2
    for name in ("metrics.jsonl", "samples.jsonl", "eval.json"):
        assert (pair / "half" / name).read_bytes() == (pair / "complete" / name).read_bytes(), name
    ours, theirs = (load_checkpoint(pair / name / "checkpoints") for name in ("half", "complete"))
    assert same_weights(ours[0].model, theirs[0].model)
    (other,), (expected,) = ours[1]["others"], theirs[1]["others"]
    assert other["generator"].equal(expected["generator"]) and not other["generator"].equal(ours[1]["generator"])
    assert (other["envs"], other["anchor_pairs"]) == (expected["envs"], expected["anchor_pairs"])


def test_one_process_does_not_resume_the_run_of_two(pair):
    with pytest.raises(ConfigError, match=r"made by 2 process.* this run has 1: .*--num_processes 2"):
        online.main(args(pair, "complete", updates=6, resume=True))
    assert (pair / "complete" / "eval.json").is_file(), "nothing was touched"


@pytest.mark.parametrize("message", REFUSED)
def test_settings_that_several_processes_cannot_share_are_refused(message):
    with pytest.raises(ConfigError, match=message):
        check_processes(Args(**REFUSED[message]), 2)
    check_processes(Args(**REFUSED[message]), 1)


def test_a_refusal_reaches_both_and_leaves_no_folder(pair):
    assert [found["refused"] for found in results_of_both(pair)] == [["ConfigError", "RunFolderError"]] * 2
    assert not (pair / "refused").exists()


def digest(model):
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()


def work(folder):
    """The work of each of the two processes: a complete run by `main`, then, in the same group, the other runs."""
    found = {"queries": [], "weights": [], "stopped": [], "refused": []}
    stages, run, step = online.run_stages, Loop.run, QueryRewriteVectorEnv.step

    def watched(self, actions):
        found["queries"].append([query.id for query in self.simulator.queries_P])
        return step(self, actions)

    def remembered(loop):
        progress = run(loop)
        found["weights"].append(digest(loop.student.model))
        found["stopped"] = [progress.update, True] if progress.stopped else found["stopped"]
        return progress

    def all_stages(settings, processes):
        QueryRewriteVectorEnv.step, Loop.run = watched, remembered
        stages(settings, processes)
        QueryRewriteVectorEnv.step = terminated(step, 3 if processes.rank == 1 else None)
        processes.main_only(lambda: copy_warm_start(settings.out, folder / "half"))
        for _ in range(2):
            stages(args(folder, "half", resume=True), processes)
        for wrong in (args(folder, "refused", prompts=5), args(folder, "complete")):
            try:
                stages(wrong, processes)
            except Exception as error:
                found["refused"].append(type(error).__name__)
        (folder / f"{processes.rank}.json").write_text(json.dumps(found))

    online.run_stages = all_stages
    online.main(args(folder, "complete"))


def terminated(step, at):
    """A `step` that raises SIGTERM in its `at`-th call."""
    calls = []

    def step_with_signal(self, actions):
        calls.append(1)
        if len(calls) == at:
            signal.raise_signal(signal.SIGTERM)
        return step(self, actions)

    return step_with_signal


def copy_warm_start(complete, half):
    """Make a run folder as it is at the beginning of the online stage."""
    (half / "checkpoints").mkdir(parents=True)
    shutil.copy(complete / "config.json", half)
    shutil.copytree(complete / "checkpoints" / "warm", half / "checkpoints" / "warm")


if __name__ == "__main__":
    work(Path(sys.argv[1]))
