"""Settings of the optimizer: each has its effect, or is refused before the run folder is created."""

import math

import pytest
from accelerate import Accelerator

from qr_env.common.errors import ConfigError
from runs.online.args import Args, LearningSettings, TrafficSettings
from runs.online.checks import check_settings
from runs.online.job import main
from runs.online.learners import make_optimizer
from runs.online.warm_start import learning_rate
from tests.helpers.models import small_student

OWN_EPOCHS = {"grpo": 1, "ppo": 2, "dpo": 1}


@pytest.mark.parametrize("optimizer", OWN_EPOCHS)
def test_epochs_are_the_optimizers_own_unless_they_are_given(optimizer):
    for given, epochs in ((None, OWN_EPOCHS[optimizer]), (3, 3)):
        flags = LearningSettings(epochs=given, kl_coef=0.0, reference_free=True)
        learner = make_optimizer(
            Args(optimizer=optimizer, learning=flags), small_student(), Accelerator(cpu=True), None
        )
        assert learner.config.epochs == epochs


@pytest.mark.parametrize("rate", [0.0, -1e-3, math.nan])
def test_an_invalid_learning_rate_is_refused_and_not_replaced_by_the_default(tmp_path, rate):
    assert learning_rate(Args()) == 1e-3 and learning_rate(Args(learning_rate=2.0)) == 2.0
    with pytest.raises(ConfigError, match=r"learning_rate=.* above 0"):
        main(Args(out=tmp_path / "run", learning_rate=rate))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("epochs", [0, -1])
def test_epochs_below_1_are_refused(epochs):
    with pytest.raises(ConfigError, match=rf"learning\.epochs={epochs}: must be 1 or more"):
        check_settings(Args(learning=LearningSettings(epochs=epochs)))


@pytest.mark.parametrize("settings", [{"retriever": "dense"}, {"combine": "union"}, {"max_turns": 2}])
def test_settings_whose_lists_cannot_be_checked_are_refused(settings, tmp_path):
    traffic = TrafficSettings(check_hits=True)
    with pytest.raises(ConfigError, match="leave check_hits out"):
        main(Args(out=tmp_path / "run", traffic=traffic, **settings))
    assert not (tmp_path / "run").exists()
    check_settings(Args(traffic=traffic))


def test_a_kl_target_needs_a_coefficient_above_zero():
    check_settings(Args(optimizer="ppo", learning=LearningSettings(kl_target=0.1)))
    with pytest.raises(
        ConfigError, match=r"learning\.kl_target=0\.1 with learning\.kl_coef=0.* learning\.kl_coef=0\.001"
    ):
        check_settings(Args(optimizer="ppo", learning=LearningSettings(kl_target=0.1, kl_coef=0.0)))
