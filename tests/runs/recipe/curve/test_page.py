"""The curve's part of the page: lines of degraded judges, named dots of others, sentences and table."""

from runs.recipe.curve.measure import Gain, JudgeCurve, Point, Quality
from runs.recipe.curve.page import curve_section


def point(judge, kappa, mean, degraded):
    spread = (mean - 0.01, mean + 0.01)
    return Point(
        f"s_{judge}", judge, degraded, Quality(kappa, kappa, 0.9), Gain(mean, mean - 0.05, mean + 0.05, spread)
    )


CURVE = JudgeCurve(
    "headroom",
    {
        "with anchor": [point("degraded:0.2", 0.2, 0.02, True), point("degraded:1", 1.0, 0.2, True)],
        "alone": [point("degraded:0.2", 0.2, -0.1, True), point("blend", 0.4, 0.07, False)],
    },
)


def test_the_section_has_a_line_an_arm_dots_sentences_and_a_row_a_judge():
    text = curve_section(CURVE)
    assert text.count("<svg") == 2
    assert "with anchor, degraded truth" in text and "alone, blend, 0.4: 0.07" in text and ">blend</text>" in text
    assert "with anchor: from κ 1.00 on" in text and "alone: with no degraded judge" in text
    for shown in ("+20.0 ±1.4 %", "-10.0 ±1.4 %", "+2.0 … +12.0", "<td>blend</td>"):
        assert shown in text, shown
    assert "<td>–</td>" in text  # blend was not run with the anchor


def test_without_an_oracle_gains_are_in_units_of_the_metric():
    assert "+0.200 ±0.014" in curve_section(JudgeCurve("nDCG@10", CURVE.arms))
