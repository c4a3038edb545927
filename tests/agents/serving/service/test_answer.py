"""Who answers a query, and that whatever fails serves the original and is counted."""

import time
from dataclasses import dataclass

import pytest

from agents.serving.experiment.assignment import BASELINE, CANDIDATE, HOLDOUT
from agents.serving.rewritten import rewritten
from tests.agents.serving.service.conftest import Entry, Rewriter, Rules, Table, counted, loaded_with


def ask(client, query, **more):
    response = client.post("/rewrite", json={"query": query, **more})
    assert response.status_code == 200
    return response.json()


@dataclass
class Assigned:
    variant: str
    propensity: float = 0.25


@dataclass
class Halves:
    """Sends sessions to the variant of `variant`, or fails."""

    variant: str | Exception

    stage: str = "canary"

    def assign(self, session_id):
        if isinstance(self.variant, Exception):
            raise self.variant
        return Assigned(self.variant)

    def state(self):
        return {"stage": "canary", "mean": float("nan")}

    def decide(self):
        return None


def test_the_rewriter_answers(serving):
    answer = ask(serving(), "navy couch")
    assert answer["rewrite"] == "sofa^0.5"
    assert answer["words"] == [{"word": "sofa", "weight": 0.5, "source": "student"}]
    assert (answer["source"], answer["reason"], answer["kept"], answer["version"]) == ("student", "", False, "fake@1")
    assert answer["query_id"]


def test_it_runs_in_one_thread_of_its_own(serving, rewriter):
    client = serving(cache=0)
    for _ in range(5):
        ask(client, "couch")
    assert {name for name in rewriter.threads if name.startswith("rewriter")} == {"rewriter_0"}


def test_a_rewrite_is_remembered(serving, rewriter):
    client = serving()
    assert ask(client, "couch")["rewrite"] == ask(client, " couch ")["rewrite"] == "sofa^0.5"
    assert rewriter.batches == [["couch"]]


def test_the_cache_is_bounded(serving):
    client = serving(cache=3)
    for at in range(10):
        ask(client, f"couch {at}")
    assert counted(client, "qr_cache_size") == 3


def test_a_person_comes_before_the_table_and_the_table_before_the_rewriter(serving, rewriter):
    table = Table({word: Entry(rewritten(word, "from the table")) for word in ("sofa", "couch")})
    client = serving(loaded_with(rewriter, table=table, rules=Rules({"sofa": "by hand"})))
    assert ask(client, "sofa")["source"] == "override"
    assert (ask(client, "couch")["source"], ask(client, "couch")["rewrite"]) == ("table", "from the table")
    assert rewriter.batches == []
    assert ask(client, "red couch")["source"] == "student"


def test_rules_hold_for_table_and_rewriter(serving, rewriter):
    table = Table({"red": Entry(rewritten("red", "sofa bed"))})
    client = serving(loaded_with(rewriter, table=table, rules=Rules(forbidden="sofa")))
    assert ask(client, "red")["kept"] and ask(client, "couch")["kept"]


def test_an_entry_that_did_not_pass_serves_the_original(serving, rewriter):
    client = serving(loaded_with(rewriter, table=Table({"couch": Entry(rewritten("couch", "bad"), passed=False)})))
    assert (ask(client, "couch")["kept"], ask(client, "couch")["reason"]) == (True, "guard")


@pytest.mark.parametrize(("query", "reason"), [("", "empty"), (" \x00 ", "empty"), ("a" * 301, "too_long")])
def test_queries_that_are_not_rewritten(serving, query, reason):
    client = serving()
    answer = ask(client, query)
    assert (answer["kept"], answer["reason"], answer["source"]) == (True, reason, "original")
    assert counted(client, "qr_fallbacks_total", reason=reason) == 1


def test_a_late_rewrite_serves_the_original_and_is_there_the_next_time(serving, rewriter):
    client = serving(deadline_ms=30.0)
    rewriter.seconds = 0.2
    started = time.perf_counter()
    assert ask(client, "couch")["reason"] == "deadline"
    assert time.perf_counter() - started < 0.2
    time.sleep(0.4)
    assert ask(client, "couch")["rewrite"] == "sofa^0.5"
    assert counted(client, "qr_fallbacks_total", reason="deadline") == 1


def test_an_error_of_the_rewriter_serves_the_original(serving, rewriter, capfd):
    client = serving()
    rewriter.error = RuntimeError("/secret/path")
    answer = ask(client, "couch bob@mail.de")
    assert (answer["kept"], answer["reason"]) == (True, "rewriter_error")
    assert "secret" not in str(answer)
    written = capfd.readouterr().err
    assert "RuntimeError" in written and "<email>" in written and "bob@" not in written and "secret" not in written
    rewriter.error = None
    assert ask(client, "couch bob@mail.de")["source"] == "student"


def test_an_error_of_table_or_rules_serves_the_original(serving, rewriter):
    table = Table({})
    client = serving(loaded_with(rewriter, table=table))
    table.error = OSError("gone")
    assert ask(client, "couch")["reason"] == "table_error"


def test_a_full_queue_serves_the_original_at_once(serving, rewriter):
    client = serving(queue=1, deadline_ms=20.0)
    rewriter.seconds = 0.3
    reasons = [ask(client, f"couch {at}")["reason"] for at in range(4)]
    assert reasons == ["deadline", "deadline", "queue_full", "queue_full"]


def test_the_holdout_gets_the_original_and_the_candidate_its_own(serving, rewriter):
    def candidate(queries):
        return [rewritten(query, "settee") for query in queries]

    loaded = loaded_with(rewriter, table=Table({"couch": Entry(rewritten("couch", "from the table"))}))
    loaded.rewriters[CANDIDATE] = candidate
    trial = Halves(BASELINE)
    client = serving(loaded, trial=trial)
    assert ask(client, "couch", session_id="s")["rewrite"] == "from the table"
    trial.variant = CANDIDATE
    answer = ask(client, "couch", session_id="s")
    assert (answer["rewrite"], answer["variant"], answer["propensity"]) == ("settee", CANDIDATE, 0.25)
    trial.variant = HOLDOUT
    assert (ask(client, "couch")["kept"], ask(client, "couch")["reason"]) == (True, "holdout")
    trial.variant = ValueError("no session")
    assert ask(client, "couch")["reason"] == "assign_error"


def test_exploration_is_drawn_anew_and_its_probability_is_told(serving, rewriter):
    class Chooser:
        def choose(self, queries, seeds):
            return [("sofa" if seed % 2 else "", 0.5) for seed in seeds]

    client = serving(loaded_with(rewriter, choosers={BASELINE: Chooser()}))
    answers = [ask(client, "couch") for _ in range(6)]
    assert {answer["rewrite"] for answer in answers} == {"sofa", ""}
    assert {answer["propensity"] for answer in answers} == {0.5}


def test_a_candidate_in_the_shadow_rewrites_and_is_not_served(serving, rewriter):
    loaded = loaded_with(rewriter)
    loaded.rewriters[CANDIDATE] = Rewriter()
    client = serving(loaded, trial=Halves(BASELINE, stage="shadow"))
    loaded.rewriters[CANDIDATE].error = RuntimeError()
    assert ask(client, "couch")["rewrite"] == "sofa^0.5"
    time.sleep(0.1)
    assert counted(client, "qr_shadow_total", outcome="error") == 1
    loaded.rewriters[CANDIDATE] = rewriter
    assert ask(client, "red couch")["rewrite"] == "sofa^0.5"
    time.sleep(0.1)
    assert counted(client, "qr_shadow_total", outcome="same") == 1
