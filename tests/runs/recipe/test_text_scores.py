"""Text scores on held-out pairs are of students alone to whom their queries are new, and so are claims on them."""

import pytest
import yaml

from qr_env.common.errors import ConfigError
from runs.recipe.job import compare as recipe_compare
from runs.recipe.job import load
from runs.recipe.text_scores import text_note, text_scored
from tests.runs.recipe.test_job import SMALL


def written(folder, **changes):
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL | changes, sort_keys=False), encoding="utf-8")
    return path


def claim(better, than):
    return [{"what": "it is nearer", "better": better, "than": than, "figure": "ROUGE-L"}]


@pytest.mark.parametrize(("better", "than"), [("copy", "multi"), ("distilled", "multi")])
def test_students_of_pairs_may_be_compared_by_their_texts(tmp_path, better, than):
    assert load(written(tmp_path, claims=claim(better, than))).claims[0].figure == "ROUGE-L"


@pytest.mark.parametrize(
    ("better", "than", "held_out"),
    [("pro", "multi", "pairs"), ("multi", "live", "pairs"), ("multi", "identity", "pairs"), ("copy", "multi", "")],
)
def test_other_claims_on_texts_are_refused(tmp_path, better, than, held_out):
    with pytest.raises(ConfigError, match=r"ROUGE-L.*claim another figure"):
        load(written(tmp_path, claims=claim(better, than), held_out=held_out))


def test_a_line_says_who_has_none_and_nobody_else_is_scored(tmp_path, monkeypatch):
    recipe = load(written(tmp_path))
    assert [name for name in recipe.compare if text_scored(recipe.stages, name)] == ["multi", "copy", "distilled"]
    assert "of pro, live: " in text_note(recipe)
    monkeypatch.setattr("agents.supervised.text_scores.text_scores", lambda student, held_out: {"ROUGE-L": 1.0})

    class SeedRun:
        def student(self, name):
            return name

        def examples(self, name):
            from agents.examples.tasks import Example

            return [Example("rewrite", "couch", "sofa", held_out=True)]

    assert list(recipe_compare._texts(SeedRun(), recipe)) == ["multi", "copy", "distilled"]
