"""Health, readiness, counters, the experiment's state."""

from tests.agents.serving.service.conftest import counted
from tests.agents.serving.service.test_answer import Halves


def test_health_and_readiness(serving):
    client = serving()
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"ready": True, "version": "fake@1", "table": ""}


def test_counters(serving):
    client = serving()
    for _ in range(3):
        client.post("/rewrite", json={"query": "couch"})
    assert counted(client, "qr_answers_total", source="student", variant="baseline") == 3
    assert counted(client, "qr_answer_seconds_count", source="student") == 3
    assert counted(client, "qr_requests_total", path="/rewrite", status="200") == 3
    assert counted(client, "qr_loaded_info", model="fake@1") == 1
    assert counted(client, "qr_queue_depth", queue="rewrite") == 0


def test_the_state_of_the_experiment(serving):
    assert serving().get("/experiment").json() == {"stage": "none"}
    client = serving(trial=Halves("baseline"))
    assert client.get("/experiment").json() == {"stage": "canary", "mean": None}
    assert counted(client, "qr_experiment_info", stage="canary") == 1
