"""Ablation studies on MetaFormer: config -> model -> train -> record -> table.

The public API. Names are imported on first use: `import ablations` needs neither torch nor pandas.

    >>> import ablations
    >>> config = ablations.resolve("mini", {"model.token_mixers": "identity", "seed": 1})
    >>> record = ablations.train(config, results="runs")
    >>> study = ablations.load_study("runs")
    >>> ablations.ablation_table(study)
    >>> ablations.figures.forest_plot(study)

Models are in `poolformer`; every error that these functions raise is in `ablations.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablations import errors, figures, tables
    from ablations.analysis import stats
    from ablations.analysis.study import Study
    from ablations.analysis.verdicts import Verdict, judge_claims
    from ablations.api import (
        ablation_table,
        compare_predictions,
        evaluate,
        evaluate_checkpoint,
        expand_sweeps,
        flipped_images,
        load_study,
        resolve,
        run_study,
        train,
    )
    from ablations.config.data_sources import DataSource, register_data_source
    from ablations.config.resolve import preset_names, recipe_names
    from ablations.config.schema import RunConfig
    from ablations.config.sweep import SweepRun
    from ablations.data.arrays import register_arrays
    from ablations.errors import PoolformerError
    from ablations.scheduling.scheduler import Outcome
    from ablations.store.predictions import Predictions
    from ablations.store.records import Record
    from ablations.tables.loading import (
        load_histories,
        load_predictions,
        load_records,
        load_studies,
    )
    from ablations.training.evaluate import Accuracy

__all__ = [
    "Accuracy",
    "DataSource",
    "Outcome",
    "PoolformerError",
    "Predictions",
    "Record",
    "RunConfig",
    "Study",
    "SweepRun",
    "Verdict",
    "ablation_table",
    "compare_predictions",
    "errors",
    "evaluate",
    "evaluate_checkpoint",
    "expand_sweeps",
    "figures",
    "flipped_images",
    "judge_claims",
    "load_histories",
    "load_predictions",
    "load_records",
    "load_studies",
    "load_study",
    "preset_names",
    "recipe_names",
    "register_arrays",
    "register_data_source",
    "resolve",
    "run_study",
    "stats",
    "tables",
    "train",
]

# The modules of the names above that are not in `ablations.api`.
_MODULES = {
    "Accuracy": "training.evaluate",
    "DataSource": "config.data_sources",
    "Outcome": "scheduling.scheduler",
    "PoolformerError": "errors",
    "Predictions": "store.predictions",
    "Record": "store.records",
    "RunConfig": "config.schema",
    "Study": "analysis.study",
    "SweepRun": "config.sweep",
    "Verdict": "analysis.verdicts",
    "judge_claims": "analysis.verdicts",
    "load_histories": "tables.loading",
    "load_predictions": "tables.loading",
    "load_records": "tables.loading",
    "load_studies": "tables.loading",
    "preset_names": "config.resolve",
    "recipe_names": "config.resolve",
    "register_arrays": "data.arrays",
    "register_data_source": "config.data_sources",
}


def __getattr__(name: str) -> Any:
    if name in ("errors", "figures", "tables"):
        return import_module(f"ablations.{name}")
    if name == "stats":
        return import_module("ablations.analysis.stats")
    if name in __all__:
        return getattr(import_module(f"ablations.{_MODULES.get(name, 'api')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
