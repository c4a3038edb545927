"""Readers of the export formats, written from the formats' descriptions; they share no code with the writers."""

from __future__ import annotations

import re


def common_rules(text: str) -> dict[str, list[tuple[str, float, str]]]:
    """Querqy's common rules: whole query → (instruction, weight, term)."""
    rules: dict[str, list[tuple[str, float, str]]] = {}
    current = ""
    for line in text.splitlines():
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        if bare.endswith("=>"):
            name = bare[:-2].strip()
            assert name[0] == name[-1] == '"' and '"' not in name[1:-1], name
            current = name[1:-1]
            assert current not in rules
            rules[current] = []
            continue
        found = re.fullmatch(r"(SYNONYM|UP|DOWN|DELETE)\(([\d.e-]+)\): (.+)", bare)
        assert found, line
        rules[current].append((found[1], float(found[2]), found[3]))
    return rules


def replace_rules(text: str) -> dict[str, str]:
    """Querqy's replace rules: input → output."""
    rules = {}
    for line in text.splitlines():
        inputs, _, output = line.partition(" => ")
        for one in inputs.split(";"):
            rules[one.strip()] = output.strip()
    return rules


def solr_synonyms(text: str) -> dict[str, list[str]]:
    """Solr's synonyms with `=>`: left side → entries, backslashes removed."""
    rules = {}
    for line in text.splitlines():
        sides = _split(line, "=>")
        assert len(sides) == 2, line
        (left,) = _entries(sides[0])
        rules[left] = _entries(sides[1])
    return rules


def _entries(side: str) -> list[str]:
    return [re.sub(r"\\(.)", r"\1", part).strip() for part in _split(side, ",")]


def _split(text: str, separator: str) -> list[str]:
    parts, current, at = [], "", 0
    while at < len(text):
        if text[at] == "\\":
            current += text[at : at + 2]
            at += 2
        elif text.startswith(separator, at):
            parts.append(current)
            current, at = "", at + len(separator)
        else:
            current += text[at]
            at += 1
    return [*parts, current]
