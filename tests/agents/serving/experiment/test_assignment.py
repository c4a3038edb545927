"""Assignment by hash: sticky, nested as shares grow, in the intended proportions, the holdout apart."""

from __future__ import annotations

import pytest

from agents.serving.experiment.assignment import BASELINE, CANDIDATE, HOLDOUT, assign
from agents.serving.experiment.settings import ExperimentSettings

SETTINGS = ExperimentSettings(holdout=0.1)
SESSIONS = [f"session-{at}" for at in range(8_000)]


def variants(share: float, settings: ExperimentSettings = SETTINGS) -> list[str]:
    return [assign(name, share, settings).variant for name in SESSIONS]


def test_a_session_sees_the_same_variant_in_every_process() -> None:
    assert assign("session-1", 0.5, SETTINGS) == assign("session-1", 0.5, SETTINGS)
    assert [assign(name, 0.5, SETTINGS).variant for name in "acg"] == [BASELINE, CANDIDATE, HOLDOUT]


def test_who_is_in_a_canary_stays_in_it_when_it_grows_and_the_holdout_never_changes() -> None:
    small, large = variants(0.05), variants(0.5)
    for before, after in zip(small, large, strict=True):
        assert (before == HOLDOUT) == (after == HOLDOUT)
        assert before != CANDIDATE or after == CANDIDATE


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.95])
def test_variants_have_their_shares_and_propensities(share: float) -> None:
    found = variants(share)
    expected = {HOLDOUT: 0.1, CANDIDATE: 0.9 * share, BASELINE: 0.9 * (1 - share)}
    for name, probability in expected.items():
        spread = 4 * (probability * (1 - probability) / len(found)) ** 0.5
        assert found.count(name) / len(found) == pytest.approx(probability, abs=spread)
    first = assign(SESSIONS[0], share, SETTINGS)
    assert first.propensity == pytest.approx(expected[first.variant])


def test_another_salt_assigns_anew() -> None:
    other = variants(0.5, ExperimentSettings(salt="another", holdout=0.1))
    same = sum(one == two for one, two in zip(variants(0.5), other, strict=True)) / len(other)
    assert 0.3 < same < 0.55
