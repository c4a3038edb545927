"""What the grades of another scale mean, as `--grades` names it.

    names = GradeNames.parse("0=I,1=E")
    names.level("1"), names.level("2")          # 3, None: a grade that is not named is unknown

Each part is GRADE=LEVEL, LOWEST..HIGHEST=LEVEL (both ends included, the first part that holds a grade decides) or
WORD=LEVEL. A level is E, S, C or I, or its word: Exact, Substitute (Partial), Complement, Irrelevant.
"""

from __future__ import annotations

from dataclasses import dataclass

from qr_env.common.errors import ConfigError
from qr_env.common.types import COMPLEMENT, EXACT, IRRELEVANT, SUBSTITUTE

LEVEL_WORDS = {
    **dict.fromkeys(("e", "exact", "exact match"), EXACT),
    **dict.fromkeys(("s", "substitute", "substitutes", "partial", "partial match"), SUBSTITUTE),
    **dict.fromkeys(("c", "complement", "complements", "complementary"), COMPLEMENT),
    **dict.fromkeys(("i", "irrelevant"), IRRELEVANT),
}
# What words of other scales mostly mean: proposed in messages, never read without being named.
LIKELY = {
    **dict.fromkeys(("perfect", "excellent", "exakt", "yes", "true", "relevant", "highly relevant"), "E"),
    **dict.fromkeys(("fully relevant", "very relevant", "very good", "best", "ideal", "vital", "key", "ja"), "E"),
    **dict.fromkeys(("good", "partially relevant", "partly relevant", "acceptable", "okay"), "S"),
    **dict.fromkeys(("fair", "marginal", "marginally relevant", "slightly relevant", "somewhat relevant"), "C"),
    **dict.fromkeys(("bad", "poor", "no", "false", "not relevant", "non relevant", "nonrelevant", "nein"), "I"),
}
FORM = "write GRADE=LEVEL with levels E, S, C and I, such as 0=I,1=E, 0..1=I,2..4=E or relevant=E,bad=I"


@dataclass(frozen=True)
class GradeNames:
    """The named grades of a scale."""

    words: dict[str, int]
    """Lower-case grade → level."""
    ranges: tuple[tuple[float, float, int], ...] = ()
    """(lowest, highest, level) of each range of numbers, both ends included."""

    @classmethod
    def parse(cls, text: str) -> GradeNames:
        """Read "0=I,1=E".

        Raises:
            ConfigError: a part is not GRADE=LEVEL, or names a grade again with another level.
        """
        words: dict[str, int] = {}
        ranges = []
        for part in text.split(","):
            grade, _, name = (side.strip().lower() for side in part.rpartition("="))
            if not grade or name not in LEVEL_WORDS:
                raise ConfigError(f"grades={text!r}: {part.strip()!r} names no level of a grade; {FORM}")
            level = LEVEL_WORDS[name]
            if ".." in grade:
                ranges.append((*_range(text, grade), level))
            elif words.setdefault(plain_number(grade), level) != level:
                raise ConfigError(f"grades={text!r}: {grade!r} has two levels; name it once")
        return cls(words, tuple(ranges))

    def level(self, grade: str) -> int | None:
        """Level of a lower-case grade; None where it is not named."""
        if grade in self.words or not self.ranges:
            return self.words.get(grade)
        value = number(grade)
        return None if value is None else next((r for low, high, r in self.ranges if low <= value <= high), None)


def likely_level(grade: str) -> str:
    """Letter of the level that a lower-case grade in words mostly means; "" where nobody can know."""
    return LIKELY.get(" ".join(grade.replace("_", " ").replace("-", " ").split()), "")


def _range(text: str, grade: str) -> tuple[float, float]:
    low, high = (number(side.strip()) for side in grade.split("..", 1))
    if low is None or high is None or low > high:
        raise ConfigError(f"grades={text!r}: {grade!r} is no range LOWEST..HIGHEST of numbers; {FORM}")
    return low, high


def number(text: str) -> float | None:
    """The number that a text is; None for anything else, NaN and infinity included."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def plain_number(text: str) -> str:
    """A whole number without its decimals: pandas writes an integer column with missing values as "2.0"."""
    value = number(text)
    return text if value is None or value != int(value) else str(int(value))
