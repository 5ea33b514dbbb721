"""What several files of the lab's tests share and is made once."""

from __future__ import annotations

import pytest

from ablations.resolve import resolve


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """The metrics of the long cell, trained without W&B and in one go."""
    from ablations.train import train
    from tests.ablations.wandb_cells import LONG

    folder = tmp_path_factory.mktemp("undisturbed")
    return train(resolve("mini", {**LONG, "system.tracker": "none"}), folder).metrics
