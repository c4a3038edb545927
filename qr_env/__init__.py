"""The simulated shop: data, retrieval, feedback, reward, environment, evaluation. Importing it
registers the environment.

import gymnasium
env = gymnasium.make("qr_env:QueryRewrite-v0", shop="generated")
envs = gymnasium.make_vec("qr_env:QueryRewrite-v0", num_envs=64, shop="generated", retriever="bm25", judge="auto")
"""

import gymnasium as _gymnasium

ENV_ID = "QueryRewrite-v0"

if ENV_ID not in _gymnasium.registry:
    _gymnasium.register(
        id=ENV_ID,
        entry_point="qr_env.environment.env:QueryRewriteEnv",
        vector_entry_point="qr_env.environment.vector_env:QueryRewriteVectorEnv",
    )
