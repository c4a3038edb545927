"""The shop: data, retrieval, feedback, reward, environment, evaluation. Importing it registers `QueryRewrite-v0`.

import gymnasium
env = gymnasium.make("qr_env:QueryRewrite-v0", shop=shop, retriever=retriever, judge=judge)
envs = gymnasium.make_vec("qr_env:QueryRewrite-v0", num_envs=64, shop=shop, retriever=retriever, judge=judge)
"""

import gymnasium as _gymnasium

ENV_ID = "QueryRewrite-v0"

if ENV_ID not in _gymnasium.registry:
    _gymnasium.register(
        id=ENV_ID,
        entry_point="qr_env.environment.env:QueryRewriteEnv",
        vector_entry_point="qr_env.environment.vector_env:QueryRewriteVectorEnv",
    )
