"""What several files of the lab's tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ablations.analysis.study import Study

EMBEDDED = "results/mini"


@pytest.fixture
def no_account(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither variables nor a home of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("NETRC", raising=False)


@pytest.fixture(scope="session")
def undisturbed(
    train_undisturbed: Callable[[Iterable[RunConfig]], dict[str, dict[str, Any]]],
) -> dict[str, dict[str, float]]:
    """The metrics of the long run, trained without W&B and in one go."""
    from tests.factories.wandb_runs import LONG

    (outcome,) = train_undisturbed([resolve("mini", LONG)]).values()
    return {name: value for name, value in outcome.items() if "/" in name}


@pytest.fixture(scope="session")
def mini() -> Study:
    """The embedded study."""
    from ablations import tables

    (study,) = tables.load_studies(EMBEDDED)
    return study


@pytest.fixture(scope="session")
def histories() -> dict[str, list[dict[str, float]]]:
    """The histories of its runs."""
    from ablations import tables

    return tables.load_histories(EMBEDDED)


@pytest.fixture(scope="session")
def drawn(mini: Study, histories: dict[str, list[dict[str, float]]]) -> dict[str, Figure]:
    """Every figure, of the embedded study where it is of one, laid out."""
    from ablations import figures
    from tests.factories.figures import every_figure

    found = {
        "accuracy against cost": figures.accuracy_against_cost([mini]),
        "published speed": figures.published_speed(),
    }
    for figure in found.values():
        figure.draw_without_rendering()
    return found | every_figure(mini, histories)
