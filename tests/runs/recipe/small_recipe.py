"""A recipe with every kind of stage but the judge's, small enough to run in a test."""

import yaml

SMALL = {
    "about": "a small one",
    "stages": {
        "base": {"kind": "base", "pretrain": 128, "hidden": 32, "layers": 1},
        "pairs": {"kind": "pairs", "sources": ["log"], "tasks": ["rewrite", "title"]},
        "multi": {"kind": "sft", "start": "base", "examples": ["pairs"], "tasks": {"rewrite": 1.0, "title": 0.5}},
        "imitated": {"kind": "imitate", "teacher": "multi"},
        "copy": {"kind": "sft", "start": "base", "examples": ["imitated"], "epochs": 1},
        "distilled": {"kind": "distill", "start": "base", "teacher": "multi", "epochs": 1},
        "pro": {"kind": "pro", "start": "multi", "rank_by": "relevance", "samples": 3, "epochs": 1},
        "day": {"kind": "visits", "agent": "pro", "before": "multi", "users": 60, "days": 3, "explore": 0.5},
        "live": {"kind": "online", "start": "pro", "updates": 2, "feedback": ["day"]},
    },
    "compare": ["multi", "copy", "distilled", "pro", "live"],
    "held_out": "pairs",
    "claims": [{"text": "learning helps", "better": "live", "than": "pro", "slack": 0.5}],
}


def write_recipe(folder, values):
    """Write a recipe's values as `small.yaml`; its path."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path
