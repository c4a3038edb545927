"""Refuse weights that are no causal language model before anything is trained from them; reads the configuration only.

check_causal_lm("smollm2-135m")     # fetches it if it is not on disk
"""

from __future__ import annotations

from pathlib import Path

from qr_env.common.errors import ConfigError
from qr_env.common.packages import require
from qr_env.models.hub import resolve

HEADS = ("ForCausalLM", "LMHeadModel")  # how the classes end that have been trained to continue a text


def check_causal_lm(name: str) -> Path:
    """The folder of the causal language model called `name` (see `qr_env.models.hub.resolve`).

    Raises:
        DownloadError: the weights are neither on disk nor to be had.
        ConfigError: a package is missing, or the folder holds another kind of model.
    """
    require("torch", "transformers", what=f"the language model {name}")
    from transformers import AutoConfig

    folder = resolve(name)
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{name} ({folder}) has no configuration that can be read: {reason}") from error
    classes = getattr(config, "architectures", None) or []
    if classes and not any(one.endswith(HEADS) for one in classes):
        raise ConfigError(
            f"{name} ({folder}) is a {classes[0]}, no causal language model; name one, such as smollm2-135m"
        )
    return folder
