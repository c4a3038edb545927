"""Prompted rewriters: how answers are read, what is kept and asked again, and the whole way through a real model and a
real server on loopback."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.prompted.agent import Prompted, read_rewrite
from agents.prompted.generation import Asked, LocalWriter
from agents.prompted.prompt_file import PromptFile
from agents.prompted.text_store import TextStore
from agents.query_log.purchase_log import document_examples, rewrite_examples
from qr_env.common.errors import ConfigError
from tests.helpers.fakes import WordRetriever, tiny_shop
from tests.helpers.misbehaving import Misbehaving


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("sofa blue", "sofa blue"),
        (' "Sofa blue." ', "Sofa blue"),
        ("Rewritten query: sofa blue", "sofa blue"),
        ('{"rewrite": "sofa blue"}', "sofa blue"),
        ('```json\n{"rewrite": "sofa blue"}\n```', "sofa blue"),
        ("(couch OR sofa) AND blue NOT leather", "couch sofa blue"),
        ('"sofa" OR "settee"', "sofa settee"),
        ("Blue Sofa\n\nRewrite:\nBlue Sofa", "Blue Sofa"),
        ("\nRewrite: blue sofa", "blue sofa"),
        ("sofa blue\n\nQuery: fridge\nRewrite: refrigerator", "sofa blue"),
        ('black and decker drill 1/2"', "black and decker drill 1/2"),
        ("rewritable dvd", "rewritable dvd"),
    ],
)
def test_answers_are_read_for_what_they_say(text: str, read: str) -> None:
    assert read_rewrite(text, "couch", 12) == (read, "")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("...", "empty"),
        ("blue sofa\n\nI changed couch into sofa.", "lines"),
        ("Here is the rewritten query", "talk"),
        ("I'm sorry, I cannot help", "talk"),
        ("a blue sofa because titles say sofa", "talk"),
        ("<b>blue sofa</b>", "markup"),
        ('{"rewrite": "blue', "markup"),
        ("**blue sofa**", "markup"),
        ("category: sofa", "markup"),
        ("word " * 13, "long"),
        ("Oak-Nat-Oak-Nat-Oak-Nat", "loop"),
    ],
)
def test_what_is_no_query_is_refused_by_kind(text: str, fault: str) -> None:
    assert read_rewrite(text, "couch", 12) == ("", fault)


def test_the_querys_own_words_are_no_talk_and_its_length_is_allowed() -> None:
    assert read_rewrite("query letters example", "query letters example", 12)[1] == ""
    words = " ".join(f"word{n}" for n in range(13))
    assert read_rewrite(words, "x " * 13, 12) == (words, "")


Answers = Generator[tuple[int, str, str], None, None]


class Scripted:
    """A writer by a table from the prompt's query; counts what it is asked."""

    name, settings = "scripted", {"decoding": "greedy"}

    def __init__(self, table: dict[str, str]) -> None:
        self.table, self.asked = table, []  # type: ignore[var-annotated]

    def write(self, prompts: Sequence[str], tokens: int, schema: bool) -> Answers:
        for at, prompt in reversed(list(enumerate(prompts))):
            query = prompt.split("Query: ")[-1].split("\n")[0]
            self.asked.append(query)
            yield (at, self.table[query], "") if query in self.table else (at, "", "timeout")


def test_rewrites_faults_and_combine() -> None:
    writer = Scripted({"blue couch": "blue sofa", "fridge": "Sure! A refrigerator", "sofa": "sofa"})
    queries = ["blue couch", "fridge", "sofa", "lost", "  ", "blue couch"]
    agent = Prompted(Asked(writer, PromptFile.load("rewrite_v1")), "expand")
    assert agent.rewrite(queries, n=2) == [
        ["sofa"] * 2,
        ["fridge"] * 2,
        [""] * 2,
        ["lost"] * 2,
        ["  "] * 2,
        ["sofa"] * 2,
    ]
    assert sorted(writer.asked) == ["blue couch", "fridge", "lost", "sofa"]  # once each, blanks never
    assert agent.costs == {"written/query": 0.75, "no use: server timeout": 0.25, "no use: talk": 0.25}
    assert Prompted(Asked(writer, PromptFile.load("rewrite_v1")), "replace").rewrite(queries[:1]) == [["blue sofa"]]
    assert agent.rewrite([]) == []


def test_the_store_answers_before_the_model_and_knows_prompts_apart(tmp_path: Path) -> None:
    table = {f"q{n}": f"answer {n}" for n in range(40)}
    prompt = PromptFile.load("rewrite_few_v1")

    def asked(**changes: Any) -> tuple[Scripted, Asked]:
        writer = Scripted(table)
        return writer, Asked(writer, prompt, store=TextStore(tmp_path), **{"examples": [("a", "b")], **changes})

    _, first = asked()
    assert first.texts(list(table)) == table
    writer, again = asked()
    assert again.texts(["q1", "q39"]) == {"q1": "answer 1", "q39": "answer 39"} and writer.asked == []
    assert again.costs == {"written/query": 0.0}
    for change in ({"examples": [("a", "c")]}, {"words": 5}, {"tokens": 7}):
        writer, other = asked(**change)
        other.texts(["q1"])
        assert writer.asked == ["q1"], change


def test_a_writer_that_dies_keeps_what_it_wrote(tmp_path: Path) -> None:
    class Dying(Scripted):
        def write(self, prompts: Sequence[str], tokens: int, schema: bool) -> Answers:
            yield from list(super().write(prompts, tokens, schema))[:20]
            raise KeyboardInterrupt

    table = {f"q{n}": f"answer {n}" for n in range(40)}
    with pytest.raises(KeyboardInterrupt):
        Asked(Dying(table), PromptFile.load("rewrite_v1"), store=TextStore(tmp_path)).texts(list(table))
    writer = Scripted(table)
    assert Asked(writer, PromptFile.load("rewrite_v1"), store=TextStore(tmp_path)).texts(list(table)) == table
    assert len(writer.asked) == 20  # all twenty answers were kept, the last incomplete batch too


def test_prompts_hold_examples_and_refuse_other_forms(tmp_path: Path) -> None:
    few = PromptFile.load("rewrite_few_v1")
    text = few.render("${words} $5", [("couch", "sofa"), ("fridge", "refrigerator")], 9)
    assert "Query: couch\nRewrite: sofa\n\nQuery: fridge\nRewrite: refrigerator\n\nQuery: ${words} $5\nRewrite:" in text
    assert "at most 9 words" in text and len(few.hash) == 12
    with pytest.raises(ConfigError, match="rewrite_v1"):
        PromptFile.load("rewrite_v9")
    for body in (
        "no head",
        "---\nkind: poem\nexamples: 0\n---\n${query}",
        "---\nkind: rewrite\nexamples: 0\n---\nno slot",
    ):
        (tmp_path / "p.md").write_text(body)
        with pytest.raises(ConfigError, match=r"p\.md"):
            PromptFile.load(tmp_path / "p.md")


def test_examples_come_from_the_train_log_only() -> None:
    shop = tiny_shop()
    train = {query.text for query in shop.split("train")}
    examples = rewrite_examples(shop, WordRetriever(shop), 4, seed=1)
    assert examples == rewrite_examples(shop, WordRetriever(shop), 4, seed=1)
    assert {query for query, _ in examples} <= train
    by_query = dict(examples)
    assert any("refrigerator" in text or "frosta" in text for query, text in by_query.items() if query != text)
    assert examples[-1][0] == examples[-1][1]  # one that is fine as it is
    documents = document_examples(shop, 3, seed=2)
    assert {query for query, _ in documents} <= train and all(len(text.split()) > 3 for _, text in documents)


def test_a_real_model_writes_the_same_in_batches_and_alone(tmp_path: Path) -> None:
    from tests.helpers.models import small_student

    student = small_student(seed=3)
    student.model.save_pretrained(tmp_path / "lm")
    student.tokenizer.save_pretrained(tmp_path / "lm")
    writer = LocalWriter(str(tmp_path / "lm"), batch_size=2)
    prompts = ["sofa", "red couch blue shoes", "fridge freezer black"]
    texts = {at: text for at, text, _ in writer.write(prompts, 5, False)}
    assert sorted(texts) == [0, 1, 2] and any(texts.values())
    alone = [next(writer.write([prompt], 5, False))[1] for prompt in prompts]
    assert alone == [texts[at] for at in range(3)]
    assert writer.settings["weights"]


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_server_writes_and_its_failures_are_counted() -> None:
    from runs.common.writing import ServerWriter

    with Misbehaving() as server:
        writer = ServerWriter(server.url, backoff=0.002, patience=0.5, retries=0)
        agent = Prompted(Asked(writer, PromptFile.load("rewrite_v1")), "replace")
        assert writer.name == "play-1b"
        agent.rewrite(["couch"])
        server.faults.append("500")
        assert agent.rewrite(["fridge"]) == [["fridge"]]
        assert agent.costs["no use: server http_500"] == 0.5
        asked = [body for path, body in server.seen if path.endswith("chat/completions")][-1]
        assert asked["temperature"] == 0 and asked["max_tokens"] == 40
        assert ("response_format" in asked) == writer.server.json
        continues = ServerWriter(server.url, chat=False, backoff=0.002, patience=0.5, retries=0)
        assert continues.settings != writer.settings
        Prompted(Asked(continues, PromptFile.load("rewrite_few_v1"), [("couch", "sofa")]), "replace").rewrite(
            ["fridge"]
        )
        path, asked = server.seen[-1]
        assert path.endswith("/v1/completions") and "response_format" not in asked and asked["stop"] == ["\n\n"]
        assert asked["prompt"].endswith("Query: fridge\nRewrite:")
        server.always = "401"
        with pytest.raises(ConfigError, match="http_401"):
            agent.rewrite(["trainers"])
