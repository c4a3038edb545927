"""The LLM judge, the LLM shopper and an agent on servers that differ from vLLM."""

from __future__ import annotations

import numpy as np
import pytest

from agents.prompted.server_model import ServerModel
from judges.llm.judge import LLMJudge
from judges.shoppers.llm import LLMShopper
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.llm.client import Client
from tests.helpers.fakes import tiny_shop
from tests.helpers.odd_server import Answer, OddServer, Request, refusal, streamed

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("no_settings")]
PAIRS = [("red sofa", "Lindholm sofa red"), ("lamp", "desk lamp")]
GRADED = [8 / 15, 4 / 15, 2 / 15, 1 / 15]  # E, S, C, I of a model that halves


def client(url: str) -> Client:
    return Client(url, backoff=0.002, patience=1.0, timeout=20, retries=1)


# The servers of `cases/16-openai-servers`, and others.
@pytest.mark.parametrize(
    ("prefix", "limit", "pasted"),
    [
        ("/v1", 20, "/v1"),
        ("/v1", 5, "/v1"),
        ("/v1beta/openai", 20, "/v1beta/openai"),
        ("/v1", 20, "/v1/chat/completions"),
        ("/api", 10, "/api"),
        ("/v1", 4, ""),
        ("/openai/v1", 6, "/openai"),
    ],
)
def test_probabilities_do_not_depend_on_path_and_limit(prefix: str, limit: int, pasted: str) -> None:
    with OddServer(prefix, limit=limit) as server, LLMJudge(client(f"http://{server.host}{pasted}")) as judge:
        np.testing.assert_allclose(judge.grade_pairs(PAIRS), [GRADED[::-1]] * 2, atol=1e-6)
        assert (judge.method, judge.server.top) == ("top", limit)


@pytest.mark.parametrize("says", ['{"grade": "S"}', '```json\n{"grade": "S"}\n```', ' ```\n{"grade":"S"}```\n'])
def test_without_log_probabilities_the_grade_is_asked_for_in_json(
    says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with OddServer(limit=0, says=says) as server, LLMJudge(client(server.url)) as judge:
        assert judge.grade_pairs(PAIRS).tolist() == [[0, 0, 1, 0]] * 2
        assert judge.method == "json" and "json_v2" in judge.fingerprint
    assert (
        "sends no log-probabilities of 4 tokens or more: the judge asks for an answer in JSON"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "settings", [{"method": "top"}, {"method": "choice"}, {"prompt": "list_v2"}, {"prompt": "title_v1"}]
)
def test_a_method_that_was_asked_for_is_not_replaced(settings: dict[str, str]) -> None:
    message = r"sends no log-probabilities of 4 .* needs: serve the model with vLLM, or ask with"
    with OddServer(limit=3) as server, pytest.raises(JudgeError, match=message):
        LLMJudge(client(server.url), **settings).grade_pairs(PAIRS)  # type: ignore[arg-type]


def test_what_was_learned_holds_for_every_later_request() -> None:
    class Strict(OddServer):
        def respond(self, request: Request) -> Answer:
            body = request.body
            if request.method == "POST" and "max_tokens" in body:
                return refusal(400, "Use 'max_completion_tokens' instead.")
            if request.method == "POST" and ("temperature" in body or not body.get("stream")):
                return refusal(400, "temperature and a stream: neither is a choice here")
            answer = super().respond(request)
            return streamed(answer.body) if request.method == "POST" and answer.status == 200 else answer

    with Strict(limit=5) as server, LLMJudge(client(server.url)) as judge:
        assert judge.server.top == 5
        before = len(server.seen)
        np.testing.assert_allclose(judge.grade_pairs(PAIRS), [GRADED[::-1]] * 2, atol=1e-6)
        assert len(server.seen) == before + 2, "no request is refused again"


def test_a_refusal_during_a_run_is_told_with_its_words() -> None:
    with OddServer() as server, LLMJudge(client(server.url), max_missing=0.1) as judge:
        assert judge.server.top == 20
        server.answer = lambda _: refusal(401, "your key ran out")
        with pytest.raises(
            JudgeError, match=r"16 of 16 verdicts are missing.*http_401.*your key ran out.*QR_JUDGE_KEY"
        ):
            judge.grade_pairs([("red sofa", f"sofa {n}") for n in range(16)])


def test_an_agent_and_a_shopper_find_their_server_too() -> None:
    with OddServer("/api/v1", limit=0, says="sofa") as server:
        model = ServerModel(f"http://{server.host}/api", backoff=0.002, patience=0.5, retries=0)
        assert [text for _, text, _ in model.generate(["couch"], 8, json_schema=True)] == ["sofa"]
        server.answer = lambda _: Answer(200, "<html><body>login</body></html>")
        with pytest.raises(ConfigError, match=r"web_page.*login.*base URL of the API.*Check the server"):
            list(model.generate(["couch"], 8, json_schema=True))
    with OddServer(models=("a", "b")) as server, pytest.raises(JudgeError, match=r"lists 2 models, a, b: name one"):
        assert LLMShopper(tiny_shop(), client(server.url)).server
