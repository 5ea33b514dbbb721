"""Real pictures, small models: what the tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablations.config import RunConfig
from ablations.resolve import resolve

# A model that trains an epoch of the 8,000 embedded pictures in about a second.
TINY: dict[str, Any] = {
    "model.depths": [1, 1, 1, 1],
    "model.dims": [8, 8, 16, 16],
    "model.head_dim": 8,
    "data.batch_size": 250,
    "optim.epochs": 2,
    "optim.warmup_epochs": 0,
    "system.tracker": "none",
    "system.accelerator": "cpu",
}
TINY_FLAGS = [f"--{name}={value}" for name, value in TINY.items()]


@pytest.fixture
def tiny() -> Callable[..., RunConfig]:
    """``tiny(**{"model.norm": "batch"})``: a RunConfig of seconds."""

    def make(preset: str | None = None, **overrides: Any) -> RunConfig:
        return resolve("mini", {**TINY, **overrides}, preset)

    return make


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 + 24 real pictures of three classes as JPEG files, in ImageNet's layout."""
    from PIL import Image

    from ablations.data import mini

    root = tmp_path_factory.mktemp("pictures")
    pictures = mini.load()
    for name, split, count in (("train", pictures.train, 16), ("val", pictures.val, 8)):
        for label in range(3):
            folder = root / name / pictures.classes[label].replace("/", "-")
            folder.mkdir(parents=True)
            for index in (split.labels == label).nonzero()[0][:count]:
                picture = Image.fromarray(split.pictures[index].squeeze(-1))
                picture.resize((40, 40)).convert("RGB").save(folder / f"{index}.jpg")
    return root
