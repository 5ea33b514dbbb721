"""The functions of the public API. Import them from `ablations`.

Each does what a command does, with Python values in and out. Folders may be `str` or `Path`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations import data
from ablations.config import resolve as _resolve
from ablations.config import sweep as _sweep
from ablations.config.schema import RunConfig
from ablations.config.sweep import SweepRun
from ablations.errors import ConfigError
from ablations.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

    from ablations.analysis.flips import Flips
    from ablations.analysis.study import Study
    from ablations.scheduling.scheduler import Outcome
    from ablations.store.predictions import Predictions
    from ablations.training.evaluate import Accuracy, EvaluatedModel

Folder = str | Path


def resolve(
    recipe: str = "mini", overrides: Mapping[str, Any] | None = None, preset: str | None = None
) -> RunConfig:
    """Build the config of one run from a recipe, a preset and overrides.

    Args:
        recipe: The name of a recipe; `recipe_names()` lists them.
        overrides: Values by dotted field, such as ``{"model.pool_size": 5, "seed": 1}``.
        preset: The name of one of the recipe's presets; `preset_names(recipe)` lists them.

    Returns:
        The config. Its ``run_id`` identifies the run: equal configs have equal ids.

    Raises:
        ConfigError: An unknown name, a value of the wrong type, a model that cannot be built, or a
            field that this run would not use.
        DataError: ``data.root`` is not a folder of images in classes.

    Examples:
        >>> config = ablations.resolve("cifar10", {"model.norm": "batch"}, preset="s24")
        >>> config.model.depths
        (4, 4, 12, 4)
    """
    return _resolve.resolve(recipe, overrides, preset, count_classes=data.count_classes)


def expand_sweeps(
    sweeps: Folder | Iterable[Folder],
    recipe: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[SweepRun]:
    """List the runs of sweep files, each once. Nothing is trained.

    Args:
        sweeps: One sweep file or several.
        recipe: The recipe whose values the sweeps vary; by default the one that a file's command
            names, else mini.
        overrides: Values by dotted field, for all runs.
        seeds: Seeds to use instead of those in the files.

    Returns:
        The runs with the names of the sweeps that ask for them; the first seed of each variant
        comes first.

    Raises:
        ConfigError: A sweep file is invalid, or one of its runs cannot be built.

    Examples:
        >>> runs = ablations.expand_sweeps("sweeps/pool_size.yaml", seeds=[0, 1])
        >>> [run.config.model.pool_size for run in runs[:3]]
        [3, 5, 7]
    """
    paths = [sweeps] if isinstance(sweeps, str | Path) else sweeps
    return _sweep.expand_sweeps(
        map(Path, paths),
        recipe or "mini",
        overrides,
        seeds,
        recipe_given=recipe is not None,
        count_classes=data.count_classes,
    )


def train(
    config: RunConfig,
    results: Folder = "runs",
    *,
    reuse: bool = True,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Record:
    """Train one run and write its record, or return the record of a finished one.

    A run that was interrupted continues from its last checkpoint.

    Args:
        config: The run, as `resolve` returns it.
        results: The results folder. The files of the run are in ``<results>/<run_id>``.
        reuse: Whether the record of a finished run is returned instead of training it again.
        on_epoch: Called after each epoch with its metrics, such as ``val/top1``.

    Returns:
        The record. Its status is ``finished``, ``diverged`` or ``failed``.

    Raises:
        PoolformerError: The run cannot start: wrong input, missing images, a folder that cannot be
            written, or another process that trains the same run.
        Interrupted: SIGINT or SIGTERM stopped it.

    Examples:
        >>> record = ablations.train(ablations.resolve("mini"), results="runs")
        >>> record.metric("val/top1")
        87.65
    """
    from ablations.training.train import train

    return train(config, Path(results), on_epoch, reuse)


def run_study(
    sweeps: Folder | Iterable[Folder],
    recipe: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    results: Folder = "runs",
    seeds: Sequence[int] | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: bool = True,
) -> Outcome:
    """Train all runs of sweep files on this machine, several at once. Finished runs are reused.

    Worker processes import the main module: in a script, call this under
    ``if __name__ == "__main__":``.

    Args:
        sweeps: One sweep file or several.
        recipe: The recipe whose values the sweeps vary; by default the one that a file's command
            names, else mini.
        overrides: Values by dotted field, for all runs.
        results: The results folder.
        seeds: Seeds to use instead of those in the files.
        workers: How many runs train at once; by default one a GPU, or one a CPU core.
        retry_failed: Whether to train failed runs again.
        progress: Whether to show progress on stderr.

    Returns:
        The records of all runs, and what happened to runs without one. ``outcome.complete`` says
        whether every run has its result.

    Raises:
        PoolformerError: The study cannot start: wrong input, missing images, or a folder that
            cannot be written.

    Examples:
        >>> outcome = ablations.run_study("sweeps/token_mixer.yaml", seeds=[0], results="runs")
        >>> outcome.complete
        True
    """
    from ablations.scheduling.local import LocalLauncher
    from ablations.scheduling.observer import Observer
    from ablations.scheduling.progress import Progress
    from ablations.scheduling.runner import run_study

    runs = expand_sweeps(sweeps, recipe, overrides, seeds)
    return run_study(
        [run.config for run in runs],
        Path(results),
        LocalLauncher(workers),
        Progress if progress else Observer,
        retry_failed=retry_failed,
    )


def evaluate(
    run: str | Record, results: Folder = "runs", overrides: Mapping[str, Any] | None = None
) -> Accuracy:
    """Measure the accuracy of a finished run on its validation images.

    Args:
        run: A run id or a record.
        results: The results folder, which has the weights of the run.
        overrides: Values by dotted field to change, such as ``{"data.root": "/data/imagenet"}``.

    Returns:
        Top-1 and top-5 accuracy in percent, the number of images and the speed.

    Raises:
        ConfigError: There is no such run, it has no weights, or a field is wrong.
        DataError: The images are missing or broken.

    Examples:
        >>> ablations.evaluate("0f1e2d3c4b5a", results="runs").top1
        87.65
    """
    from ablations.training.evaluate import model_from_run

    run_id = run.run_id if isinstance(run, Record) else run
    return _evaluate(lambda fields: model_from_run(run_id, Path(results), fields), overrides)


def evaluate_checkpoint(
    path: Folder, overrides: Mapping[str, Any] | None = None, arch: str | None = None
) -> Accuracy:
    """Measure the accuracy of a file of weights, with the paper's validation transform.

    Args:
        path: The file, in the layout of this package, of the paper's code or of timm.
        overrides: Values by dotted field; ``data.root`` is the folder of the images.
        arch: The name of the model (`poolformer.MODELS`), if the weights fit several.

    Returns:
        Top-1 and top-5 accuracy in percent, the number of images and the speed.

    Raises:
        CheckpointError: The file holds no weights, or they fit no model.
        DataError: The images are missing or broken.

    Examples:
        >>> fields = {"data.root": "/data/imagenet"}
        >>> ablations.evaluate_checkpoint("poolformer_s12.pth.tar", fields).top1
        77.23
    """
    from ablations.training.evaluate import model_from_checkpoint

    return _evaluate(lambda fields: model_from_checkpoint(Path(path), fields, arch), overrides)


def _evaluate(
    load: Callable[[dict[str, Any]], EvaluatedModel], overrides: Mapping[str, Any] | None
) -> Accuracy:
    from ablations.training.evaluate import default_fields, evaluate_model, validation_images

    model = load({**default_fields(), **(overrides or {})})
    return evaluate_model(model, validation_images(model.config))


def load_study(
    *folders: Folder,
    baseline: str | None = None,
    test: str = "moderated",
    intervals: str = "simultaneous",
    over: str = "seeds",
) -> Study:
    """The study in results folders: its rows, each compared with the baseline by seed.

    A study has one recipe, one data set, one length and one precision. Use `load_studies` for
    folders with several.

    Args:
        folders: The results folders.
        baseline: The run id or the label of the row that the others are compared with; by default
            the recipe's own model.
        test: Where the standard errors come from: ``moderated`` (each row's own spread, which
            borrows from the others), ``pooled`` (one spread for all rows) or ``ordinary`` (t tests
            with Holm's correction).
        intervals: ``simultaneous`` (the 95% are about all rows together) or ``individual``.
        over: What intervals and p-values are about: other ``seeds`` on the same images, or
            ``seeds+images``, which needs the predictions of every run.

    Raises:
        RecordError: A folder does not exist, or one of its records or predictions cannot be used.
        ConfigError: The folders have no study, or several, or a row lacks predictions.

    Examples:
        >>> study = ablations.load_study("results/mini")
        >>> {row.label: row.top1.mean for row in study.rows}
    """
    from ablations.analysis.build import build_studies
    from ablations.analysis.planned import apply_plans
    from ablations.analysis.stats import Intervals, Method, SignificanceTest
    from ablations.tables.loading import load_predictions, load_records

    method = Method(SignificanceTest(test), Intervals(intervals))
    if over not in ("seeds", "seeds+images"):
        raise ConfigError(f"over {over!r} must be seeds or seeds+images")
    correct = None
    if over == "seeds+images":
        correct = {run: each.top1 for run, each in load_predictions(*folders).items()}
    studies = build_studies(load_records(*folders), baseline, method=method, correct=correct)
    studies = apply_plans(studies, map(Path, folders))
    if len(studies) != 1:
        names = ": " + "; ".join(study.name for study in studies) if studies else ""
        raise ConfigError(
            f"{', '.join(map(str, folders))} has {len(studies)} studies{names}. Use load_studies"
        )
    return studies[0]


def ablation_table(study: Study | Iterable[Study] | Iterable[Record]) -> pd.DataFrame:
    """The ablation table as raw numbers, one row per variant.

    The columns are those of ``ablations table --format csv``: accuracies in percent, differences
    in percentage points, costs as counts. Variants without a finished run have n = 0.

    Args:
        study: A study, several of them, or records.

    Examples:
        >>> frame = ablations.ablation_table(ablations.load_study("results/mini"))
        >>> frame[["variant", "n", "top1_mean", "delta_mean"]]
    """
    import pandas as pd

    from ablations.analysis.build import build_studies
    from ablations.analysis.study import Study
    from ablations.tables.ablation import study_table

    found = [study] if isinstance(study, Study) else list(study)
    records = [each for each in found if isinstance(each, Record)]
    studies = [each for each in found if isinstance(each, Study)] + build_studies(records)
    if not studies:
        return pd.DataFrame()
    return pd.concat([study_table(each).values for each in studies], ignore_index=True)


def compare_predictions(
    study: Study, row: str, predictions: Mapping[str, Predictions], baseline: str = "baseline"
) -> Flips:
    """What the runs of two rows predicted for each validation image, compared.

    ``flips.flips`` are the images that most seeds of one row get right and most of the other wrong,
    ``flips.counts`` McNemar's counts of each seed. `flipped_images` makes a table of them and
    `figures.contact_sheet` a figure.

    Args:
        study: The study of both rows.
        row: A name of the row or a part of it, what it changes (``norm=batch``), or a run id.
        predictions: The result of `load_predictions`.
        baseline: The same for the row to compare with.

    Raises:
        ConfigError: A name fits no row, or several.
        RecordError: Runs have no predictions, or of other images.

    Examples:
        >>> predictions = ablations.load_predictions("runs")
        >>> flips = ablations.compare_predictions(study, "attention", predictions)
        >>> ablations.figures.contact_sheet(flips)
    """
    from ablations.analysis.flips import compare_predictions, find_pair

    return compare_predictions(*find_pair([study], baseline, row), predictions)


def flipped_images(flips: Flips) -> pd.DataFrame:
    """The validation images that flip between two rows, one a row.

    The columns are those of ``ablations images --format csv``: index in the validation set,
    direction (gained or lost), true class, the class that each side predicts, and how many of its
    seeds are right. Classes are numbers where the images, which have their names, are not at hand.

    Args:
        flips: The result of `compare_predictions`.
    """
    from ablations.analysis.flips import load_images
    from ablations.errors import DataError
    from ablations.tables.flips import flips_frame

    try:
        classes = load_images(flips).classes
    except (ConfigError, DataError):
        return flips_frame(flips)
    return flips_frame(flips, classes)
