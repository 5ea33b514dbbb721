"""Records of runs that were never trained: every number can be worked out on paper."""

from __future__ import annotations

from ablations.config.resolve import resolve
from ablations.store.records import Record


def record(seed=0, top1=80.0, preset=None, recipe="mini", status="finished", **overrides) -> Record:
    """A run that was never trained."""
    plain = {name.replace("__", "."): value for name, value in overrides.items()}
    config = resolve(recipe, {"seed": seed, **plain}, preset)
    return Record(
        run_id=config.run_id,
        status=status,
        config=config.to_json(),
        metrics={} if top1 is None else {"val/top1": {"last": top1, "best": top1 + 1}},
        cost={
            "params": 421_882,
            "frozen_params": 0,
            "macs": 1_344_000,
            "image_size": 32,
            "paper": {"params": 11_915_176, "frozen_params": 0, "macs": 1_822_678_528},
        },
        data={"fingerprint": "f" * 16},
        environment={"precision": "32-true", "commit": "a" * 40},
        failure={"kind": "oom", "message": "no memory"} if status == "failed" else None,
    )


BASE = [record(seed, top1) for seed, top1 in enumerate((80.0, 81.0, 83.0))]


IDENTITY = [
    record(seed, top1, model__token_mixers="identity")
    for seed, top1 in enumerate((78.0, 80.0, 80.0))
]
