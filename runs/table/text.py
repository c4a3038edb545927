"""Entries and comparisons of tables as lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from agents.serving.table.compare import Change, Comparison
from agents.serving.table.entry import TableEntry

SHOWN_RULES = 20


def comparison_lines(found: Comparison) -> list[str]:
    """What two tables serve differently."""
    lines = [
        f"{found.added:,} queries added, {found.removed:,} removed, {len(found.changes):,} answered differently "
        f"({found.changed_share:.1%} of the traffic), {found.same:,} the same",
        f"judged over all traffic: {found.mean_gain:+.4f} nDCG@10; worse for {found.worse_share:.1%} of it",
    ]
    for title, changes in (("best, by searches:", found.best()), ("worst, by searches:", found.worst())):
        if changes:
            lines += [title, *map(change_line, changes)]
    return lines


def change_line(change: Change) -> str:
    """One change."""
    old, new = (text or "(as typed)" for text in (change.old, change.new))
    return f"  {change.weighed:+9.1f}  {change.frequency:8g} × {change.query}: {old} → {new}"


def entry_lines(query: str, entry: TableEntry | None) -> list[str]:
    """All about one entry."""
    if entry is None:
        return [f"{query}: not in the table; the service asks the rewriter"]
    row, judged = entry.rewritten, entry.judged
    answer = "searched as typed" if row.kept or not entry.passed else row.rewrite
    lines = [f"{row.query}: {answer}"]
    if not row.kept and not entry.passed:
        lines.append(f"  rewrite      {row.rewrite}   (not served)")
    if row.words:
        words = "  ".join(f"{word.word}^{word.weight:g} ({word.source})" for word in row.words)
        lines.append(f"  words        {words}")
    lines.append(f"  guard        {'passed' if entry.passed else 'NOT passed'}: {entry.why}")
    lines += [f"  rule         {rule}" for rule in entry.rules]
    if judged.original is not None and judged.rewrite is not None:
        lines.append(f"  nDCG@10      {judged.original:.3f} as typed, {judged.rewrite:.3f} rewritten, by the judge")
    lines.append(f"  as typed     {' '.join(judged.original_ids) or '(nothing found)'}")
    if not row.kept:
        lines.append(f"  rewritten    {' '.join(judged.rewrite_ids) or '(nothing found)'}")
    lines.append(f"  {row.frequency:g} searches, by {row.source} {row.model}")
    return lines


def rule_lines(rules: Mapping[str, int]) -> list[str]:
    """Rules and how many entries each changed; [] without any."""
    shown = list(rules.items())[:SHOWN_RULES]
    lines = [f"  {count:6,} × {rule}" for rule, count in shown]
    if len(rules) > len(shown):
        lines.append(f"  … and {len(rules) - len(shown):,} rules more: --json has all")
    return ["rules that changed an answer:", *lines] if lines else []
