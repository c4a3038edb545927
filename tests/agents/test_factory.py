"""Rewriters by name: every name builds its agent; a missing option is named in the error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from agents.baselines.classic import Identity
from agents.factory import AgentOptions, checkpoint_folder, make_agent, make_suggest, make_suggester
from agents.prompted.language_model import Answers
from agents.suggestions.settings import NO_GATE, SuggestSettings, TitleEngine
from agents.suggestions.suggester import OfferSettings
from agents.suggestions.titles import TitleSource
from judges.simple.labels import LabelsJudge
from qr_env.common import plugins
from qr_env.common.errors import ConfigError
from qr_env.query_text.repair import Repair
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.hybrid import Hybrid
from qr_env.shop.shop import Shop
from tests.helpers.fakes import COLORS, HashEncoder, WordRetriever, tiny_shop


class Echo:
    """A language model that answers with the query and one more word."""

    name, settings = "echo", {"decoding": "greedy"}

    def __init__(self, model: str, chat: bool) -> None:
        self.model, self.chat = model, chat

    def generate(self, prompts: Sequence[str], max_tokens: int, json_schema: bool) -> Answers:
        for index, prompt in enumerate(prompts):
            yield index, prompt.split("Query: ")[-1].split("\n")[0] + " sofa", ""


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


@pytest.fixture
def options(shop: Shop, tmp_path: Path) -> AgentOptions:
    return AgentOptions(
        shop,
        WordRetriever(shop),
        encoder=HashEncoder,
        judge=partial(LabelsJudge, shop),
        language_model=Echo,
        store=tmp_path / "texts",
    )


URL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("identity", "identity"),
        ("spell", "spell"),
        ("repair", "repair"),
        ("suggest", "suggest"),
        ("suggest-with:type", "suggest-with:type"),
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
def test_every_name_builds_an_agent_that_follows_the_protocol(options: AgentOptions, spec: str, name: str) -> None:
    agent = make_agent(spec, options)
    assert agent.name == name
    queries = ["red sofa", "", "couch"]
    rewrites = agent.rewrite(queries, n=3, seed=1)
    assert [len(group) for group in rewrites] == [3, 3, 3]
    assert all(isinstance(text, str) for group in rewrites for text in group)
    assert agent.rewrite([]) == []
    assert rewrites == agent.rewrite(queries, n=3, seed=1)
    assert rewrites[1][0] == ""


def _upper_case_agent(argument: str, options: AgentOptions) -> Identity:
    """An agent of another package; its name holds the argument and the shop."""
    agent = Identity()
    agent.name = f"upper:{argument}:{options.shop.name}"
    return agent


def test_another_package_can_register_an_agent(options: AgentOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("upper", f"{__name__}:_upper_case_agent", "qr_env.agents")
    monkeypatch.setattr(plugins, "entry_points", lambda **wanted: EntryPoints([point]).select(**wanted))
    assert make_agent("upper:x", options).name == "upper:x:tiny"
    assert make_agent("best-of-2:upper", options).name == "best-of-2:upper::tiny"
    with pytest.raises(ConfigError, match=r"qr_env\.agents"):
        make_agent("lower", options)


def test_synonyms_take_a_file(options: AgentOptions, tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text("couch\tsofa\n")
    assert make_agent(f"synonyms:{tmp_path / 's.tsv'}", options).rewrite(["couch"]) == [["sofa"]]


def test_suggest_takes_words_of_another_engines_titles(shop: Shop) -> None:
    encoder = HashEncoder()
    options = AgentOptions(shop, BM25.build(shop), encoder=lambda: encoder)
    added = make_agent("suggest", options).rewrite(["couch"])[0][0].split()
    # Of the sofas that only the encoder finds: "sofa" itself is in a third of all titles, too common to tell apart.
    assert len(added) == 5 and {word.partition("^")[0] for word in added} <= set(COLORS)
    assert encoder.texts_encoded > len(shop.products)
    beside_dense = make_agent("suggest", replace(options, retriever=Dense.build(shop, encoder)))
    assert beside_dense.rewrite(["couch"]) == [["couch"]]  # words alone find no title for it
    with pytest.raises(ConfigError, match=r"suggest.*encoder"):
        make_agent("suggest", replace(options, encoder=None))


def test_suggest_reads_the_settings_of_a_file(options: AgentOptions, tmp_path: Path) -> None:
    SuggestSettings(words=0).write(tmp_path / "suggest.json")
    assert make_agent(f"suggest:{tmp_path / 'suggest.json'}", options).rewrite(["couch"]) == [["couch"]]


def test_texts_are_stored_and_prompts_have_examples(options: AgentOptions) -> None:
    agent = make_agent(f"few-shot:{URL}", options)
    assert agent.rewrite(["couch"]) == [["sofa"]]
    again = make_agent(f"few-shot:{URL}", options)
    again.rewrite(["couch"])
    assert (agent.costs["generated/query"], again.costs["generated/query"]) == (1.0, 0.0)  # type: ignore[attr-defined]
    assert len(agent.model.examples) > 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("spel", "spel.*best-of-N"),
        ("spell:2", "takes no argument"),
        ("suggest:/no/such.json", "no/such.json"),
        ("suggest-with", "joined by"),
        ("suggest-with:type+colour", "no source of suggestions 'colour'"),
        ("prompted", "prompted"),
        ("best-of-1:spell", "best-of-1"),
        ("best-of-4:spel", "spel"),
        ("synonyms:/no/such.tsv", "no such file"),
    ],
)
def test_unknown_names_are_refused(options: AgentOptions, spec: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make_agent(spec, options)


@pytest.mark.parametrize(("spec", "option"), [("cle-qr", "encoder"), ("best-of-2:spell", "judge")])
def test_a_missing_option_is_named(shop: Shop, spec: str, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        make_agent(spec, AgentOptions(shop, WordRetriever(shop)))


def test_checkpoint_folders_are_found_inside_best_of(tmp_path: Path) -> None:
    (tmp_path / "student.json").write_text(json.dumps({}))
    assert checkpoint_folder(f"best-of-8:{tmp_path}") == checkpoint_folder(str(tmp_path)) == tmp_path
    assert checkpoint_folder("best-of-8:spell") is None and checkpoint_folder("spell") is None


def test_a_suggester_merges_the_sources_that_its_settings_name(options):
    settings = OfferSettings(("titles", "type"), most=6, suggest=SuggestSettings(engine="own"))
    bm25 = replace(options, retriever=BM25.build(options.shop))
    suggester = make_suggester(bm25, settings)
    offer = suggester.offers(["couch"])[0]
    assert suggester.settings == settings
    assert len(offer.words) <= 6 and {item.source for item in offer.words} <= {"repair", "titles", "type"}
    with pytest.raises(ConfigError, match="nonsense"):
        make_suggester(bm25, OfferSettings(("nonsense",)))


@pytest.mark.parametrize("engine", ["second", "own"])
def test_suggest_and_the_students_offers_read_the_titles_of_one_engine(shop: Shop, engine: TitleEngine) -> None:
    hybrid = Hybrid((BM25.build(shop, k1=0.6), Dense.build(shop, HashEncoder())))
    options, settings = AgentOptions(shop, hybrid), SuggestSettings(engine=engine, full_matches=NO_GATE)
    queries = ["couch", "red sofa"]
    words = [[item.word for item in one.words] for one in make_suggest(options, settings).evidence(queries)]
    titles = TitleSource(hybrid, shop, Repair.of(shop)).suggest(queries)
    assert words == [[item.word for item in row] for row in titles] and any(words)
    offers = make_suggester(options, OfferSettings(suggest=settings)).offers(queries)
    assert [[item.word for item in offer.words if item.source != "repair"] for offer in offers] == [
        row[: len(offer.words)] for row, offer in zip(words, offers, strict=True)
    ]
