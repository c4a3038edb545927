"""From names to rewriters: every name makes its agent, what is missing is named, nothing heavy is made too early."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from agents.factory import AgentOptions, checkpoint_of, make_agent
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.shop.shop import Shop
from tests.helpers.fakes import HashEncoder, WordRetriever, tiny_shop


class Echo:
    """A server's writer that repeats the query."""

    name, settings = "echo", {"decoding": "greedy"}

    def __init__(self, url: str, chat: bool) -> None:
        self.url, self.chat = url, chat

    def write(self, prompts: Sequence[str], tokens: int, schema: bool) -> Generator[tuple[int, str, str], None, None]:
        for at, prompt in enumerate(prompts):
            yield at, prompt.split("Query: ")[-1].split("\n")[0] + " sofa", ""


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


@pytest.fixture
def options(shop: Shop, tmp_path: Path) -> AgentOptions:
    judge = LabelsJudge(shop)
    return AgentOptions(
        WordRetriever(shop), encoder=HashEncoder, judge=lambda: judge, server=Echo, store=tmp_path / "texts"
    )


URL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("identity", "identity"),
        ("spell", "spell"),
        ("rm3", "rm3"),
        ("oracle", "oracle"),
        ("cle-qr", "cle-qr"),
        (f"prompted:{URL}", "prompted:echo"),
        (f"few-shot:{URL}", "few-shot:echo"),
        (f"query2doc:{URL}", "query2doc:echo"),
        ("best-of-3:spell", "best-of-3:spell"),
        (f"best-of-2:prompted:{URL}", "best-of-2:prompted:echo"),
    ],
)
def test_every_name_makes_an_agent_that_follows_the_protocol(
    shop: Shop, options: AgentOptions, spec: str, name: str
) -> None:
    agent = make_agent(spec, shop, options)
    assert agent.name == name
    queries = ["red sofa", "", "couch"]
    rewrites = agent.rewrite(queries, n=3, seed=1)
    assert [len(group) for group in rewrites] == [3, 3, 3]
    assert all(isinstance(text, str) for group in rewrites for text in group)
    assert agent.rewrite([]) == []
    assert rewrites == agent.rewrite(queries, n=3, seed=1)
    assert rewrites[1][0] == ""


def test_synonyms_take_a_file(shop: Shop, options: AgentOptions, tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text("couch\tsofa\n")
    assert make_agent(f"synonyms:{tmp_path / 's.tsv'}", shop, options).rewrite(["couch"]) == [["sofa"]]


def test_texts_are_kept_in_the_store_and_prompts_have_examples(shop: Shop, options: AgentOptions) -> None:
    agent = make_agent(f"few-shot:{URL}", shop, options)
    assert agent.rewrite(["couch"]) == [["sofa"]]
    again = make_agent(f"few-shot:{URL}", shop, options)
    again.rewrite(["couch"])
    assert (agent.costs["written/query"], again.costs["written/query"]) == (1.0, 0.0)  # type: ignore[attr-defined]
    assert len(agent.asked.examples) > 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("spel", "spel.*best-of-N"),
        ("prompted", "prompted"),
        ("best-of-1:spell", "best-of-1"),
        ("best-of-4:spel", "spel"),
        ("synonyms:/no/such.tsv", "no such file"),
    ],
)
def test_what_is_no_agent_is_refused(shop: Shop, options: AgentOptions, spec: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make_agent(spec, shop, options)


@pytest.mark.parametrize(
    ("spec", "part"), [("cle-qr", "encoder"), ("best-of-2:spell", "judge"), (f"prompted:{URL}", "server")]
)
def test_what_an_agent_needs_is_named(shop: Shop, spec: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        make_agent(spec, shop, AgentOptions(WordRetriever(shop)))


def test_checkpoints_are_found_inside_of_names(tmp_path: Path) -> None:
    (tmp_path / "student.json").write_text(json.dumps({}))
    assert checkpoint_of(f"best-of-8:{tmp_path}") == checkpoint_of(str(tmp_path)) == tmp_path
    assert checkpoint_of("best-of-8:spell") is None and checkpoint_of("spell") is None
