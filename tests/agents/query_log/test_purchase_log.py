"""Few-shot examples from the purchases of train queries."""

from __future__ import annotations

from agents.query_log.purchase_log import document_examples, rewrite_examples
from tests.helpers.fakes import WordRetriever, tiny_shop


def test_few_shot_examples_come_from_train_queries_only() -> None:
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
