"""Text scores on held-out pairs exist only for students that have not explored rewrites of the pairs' queries."""

import pytest

from agents.examples.tasks import Example
from qr_env.common.errors import ConfigError
from runs.recipe.load import load_recipe
from runs.recipe.pipeline import SeedRun
from runs.recipe.score import held_out_text_scores
from runs.recipe.text_scores import scored_students, text_scores_note
from tests.runs.recipe.small_recipe import SMALL, write_recipe


def claim(better, than):
    return [{"text": "it is closer", "better": better, "than": than, "metric": "ROUGE-L"}]


@pytest.mark.parametrize(("better", "than"), [("copy", "multi"), ("distilled", "multi")])
def test_students_of_pairs_may_be_compared_by_their_texts(tmp_path, better, than):
    assert load_recipe(write_recipe(tmp_path, SMALL | {"claims": claim(better, than)})).claims[0].metric == "ROUGE-L"


@pytest.mark.parametrize(
    ("better", "than", "held_out"),
    [("pro", "multi", "pairs"), ("multi", "live", "pairs"), ("multi", "identity", "pairs"), ("copy", "multi", "")],
)
def test_other_claims_on_texts_are_refused(tmp_path, better, than, held_out):
    with pytest.raises(ConfigError, match=r"ROUGE-L.*claim another metric"):
        load_recipe(write_recipe(tmp_path, SMALL | {"claims": claim(better, than), "held_out": held_out}))


def test_the_note_names_students_without_text_scores_and_they_are_not_scored(tmp_path, monkeypatch):
    recipe = load_recipe(write_recipe(tmp_path, SMALL))
    assert scored_students(recipe) == ["multi", "copy", "distilled"]
    assert "for pro, live: " in text_scores_note(recipe)
    monkeypatch.setattr("runs.recipe.score.text_scores", lambda student, held_out: {"ROUGE-L": 1.0})

    class FakeContext:
        def student(self, name):
            return name

        def examples(self, name):
            return [Example("rewrite", "couch", "sofa", held_out=True)]

    run = SeedRun(FakeContext(), recipe.stages)
    assert list(held_out_text_scores(run, recipe)) == ["multi", "copy", "distilled"]
