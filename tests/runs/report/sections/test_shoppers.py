"""The report's section on simulated shoppers."""

from __future__ import annotations

from runs.report.sections.shoppers import figure_text, shoppers_section


def figure(value: float | None, change: float | None = None) -> dict[str, float | None]:
    low, high = (None, None) if change is None else (change - 0.1, change + 0.1)
    return {"value": value, "low": value, "high": value, "change": change, "change_low": low, "change_high": high}


def test_every_metric_and_rewriter_is_shown_with_its_change() -> None:
    figures = {
        "identity": {"GMV": figure(1234.5, 0.0), "UCVR": figure(0.25, 0.0)},
        "suggest": {"GMV": figure(1500.0, 0.215), "UCVR": figure(None)},
    }
    page = shoppers_section({"figures": figures, "users": 2000, "args": {"days": 7}, "judge": "labels"})
    for text in ("2,000 users", "1,234", "25.00%", "1,500  +21.5% [+11.5% +31.5%]", "suggest", "–"):
        assert text in page
    assert shoppers_section({}) == ""
    assert figure_text("clicks a session", figure(1.234, 0.5), True) == "1.23"
