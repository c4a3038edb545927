"""The report's section on planted products."""

from __future__ import annotations

from runs.report.sections.planted import planted_section, planted_text

SHARES = {"all": 0.25, "stuffed": 0.125}


def test_every_rewriter_and_kind_is_shown() -> None:
    page = planted_section({"products": 1200, "agents": {"identity": SHARES, "online": {"all": 0.5, "stuffed": 0.0}}})
    for text in ("1,200 products", "identity", "online", "stuffed", "25.0 %", "12.5 %", "50.0 %"):
        assert text in page
    assert planted_section({}) == ""
    assert planted_text(SHARES) == "all 25.0 %, stuffed 12.5 %"
