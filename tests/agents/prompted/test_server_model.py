"""A language model behind a real server on loopback."""

from __future__ import annotations

import pytest

from agents.prompted.agent import PromptedAgent
from agents.prompted.generation import PromptedModel
from agents.prompted.prompt_file import PromptFile
from agents.prompted.server_model import ServerModel
from qr_env.common.errors import ConfigError
from tests.helpers.fake_llm_server import FakeLLMServer


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_requests_to_a_server_and_its_failures() -> None:
    with FakeLLMServer() as server:
        model = ServerModel(server.url, backoff=0.002, patience=0.5, retries=0)
        agent = PromptedAgent(PromptedModel(model, PromptFile.load("rewrite_v1")), "replace")
        assert model.name == "play-1b"
        agent.rewrite(["couch"])
        server.faults.append("500")
        assert agent.rewrite(["fridge"]) == [["fridge"]]
        assert agent.costs["unusable: server http_500"] == 0.5
        asked = [body for path, body in server.seen if path.endswith("chat/completions")][-1]
        assert asked["temperature"] == 0 and asked["max_tokens"] == 40
        assert ("response_format" in asked) == model.server.json
        continues = ServerModel(server.url, chat=False, backoff=0.002, patience=0.5, retries=0)
        assert continues.settings != model.settings
        few_shot = PromptedModel(continues, PromptFile.load("rewrite_few_v1"), [("couch", "sofa")])
        PromptedAgent(few_shot, "replace").rewrite(["fridge"])
        path, asked = server.seen[-1]
        assert path.endswith("/v1/completions") and "response_format" not in asked and asked["stop"] == ["\n\n"]
        assert asked["prompt"].endswith("Query: fridge\nRewrite:")
        server.always = "401"
        with pytest.raises(ConfigError, match="http_401"):
            agent.rewrite(["trainers"])
