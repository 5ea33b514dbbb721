"""Real images, small models: the fixtures that tests share."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Tests run in as many processes as there are cores: with more threads each they would wait for
# each other. Set before torch reads it, and inherited by the commands that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
# Nobody's account is used; the tests that go online have a server of their own.
os.environ["WANDB_MODE"] = "offline"

import pytest

from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.data import count_classes
from tests.factories.browser import NO_BROWSER
from tests.factories.configs import TINY
from tests.factories.processes import Process, outcome
from tests.factories.slurm import NO_SLURM
from tests.factories.warm_python import spawn_warm

if TYPE_CHECKING:
    from tests.wandb_server import WandbServer

# A worker that a test starts does not import torch, Lightning and wandb once more.
spawn_warm()


@pytest.fixture
def tiny() -> Callable[..., RunConfig]:
    """``tiny(**{"model.norm": "batch"})``: a RunConfig of seconds."""

    def make(preset: str | None = None, **overrides: Any) -> RunConfig:
        return resolve("mini", {**TINY, **overrides}, preset, count_classes=count_classes)

    return make


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 training and 24 validation images of three classes as JPEG files, in ImageNet's layout."""
    from PIL import Image

    from ablations.data import mini

    root = tmp_path_factory.mktemp("images")
    dataset = mini.load_mini()
    for name, split, count in (("train", dataset.train, 16), ("val", dataset.val, 8)):
        for label in range(3):
            folder = root / name / dataset.classes[label].replace("/", "-")
            folder.mkdir(parents=True)
            for index in (split.labels == label).nonzero()[0][:count]:
                image = Image.fromarray(split.images[index].squeeze(-1))
                image.resize((40, 40)).convert("RGB").save(folder / f"{index}.jpg")
    return root


@pytest.fixture(scope="session")
def train_undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Iterable[RunConfig]], dict[str, dict[str, Any]]]:
    """Train runs in one go, without W&B: run id -> outcome.

    All tests share the records, also those of other pytest workers: a run is trained once.
    """
    results = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        results = results.parent
    results /= "undisturbed"

    def train_all(configs: Iterable[RunConfig]) -> dict[str, dict[str, Any]]:
        from ablations.errors import BusyError
        from ablations.training.train import train

        found = {}
        for config in configs:
            alone = replace(config, system=replace(config.system, tracker="none"))
            while config.run_id not in found:
                with contextlib.suppress(BusyError):
                    found[config.run_id] = outcome(results, train(alone, results))
                    break
                time.sleep(0.1)
        return found

    return train_all


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """``start("ablations", "run", ...)``: a Process; what the test leaves of it is killed."""
    with contextlib.ExitStack() as started:
        yield lambda *command, **options: started.enter_context(Process(*command, **options))


@pytest.fixture(scope="session")
def mini_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the committed records, plots included."""
    from ablations.cli.main import main

    page = tmp_path_factory.mktemp("report") / "report.html"
    assert main(["report", "results/mini", "-o", str(page)]) == 0
    return page


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A browser or a SLURM that is not there is told loudly: what it shows was then not tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    for title, of, why in (
        ("WITHOUT A BROWSER", "pages", NO_BROWSER),
        ("WITHOUT SLURM", "the files in slurm/", NO_SLURM),
    ):
        missing = [each for each in skipped if why in str(each.longrepr)]
        if missing:
            terminalreporter.section(title, red=True, bold=True)
            terminalreporter.line(f"{len(missing)} tests of {of} were skipped: {why}", red=True)


@pytest.fixture
def server() -> Iterator[WandbServer]:
    """A W&B server; that it knew an answer to all it was asked is part of the test."""
    from tests.wandb_server import WandbServer  # the other tests do not wait for it

    with WandbServer() as made:
        yield made
        assert not made.unknown
        assert not made.errors
