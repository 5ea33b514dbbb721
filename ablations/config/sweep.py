"""Sweep files (sweeps/*.yaml) -> the runs of a study: each once, whichever files ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ablations.config import sweep_file, unused_fields
from ablations.config.resolve import default_value, differs_from_default, flatten, resolve
from ablations.config.schema import DataConfig, RunConfig
from ablations.config.sweep_file import SweepFile, varied_fields
from ablations.errors import ConfigError

# Overrides of these may make two presets the same run: a smaller model for all rows, for example.
SCALE_FIELDS = ["model.depths", "model.dims", "data.batch_size"]


@dataclass(frozen=True)
class SweepRun:
    """One run of a study and the sweep files that ask for it."""

    config: RunConfig
    sweeps: tuple[str, ...]


def expand_sweeps(
    paths: Iterable[Path],
    recipe: str,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
    defaults: Mapping[str, Any] | None = None,
    recipe_given: bool = False,
    count_classes: Callable[[DataConfig], int] | None = None,
) -> list[SweepRun]:
    """The runs of sweep files, each once.

    The first seed of every variant comes before the second of any, so that a study that stops
    early has all rows with fewer seeds.

    Args:
        paths: The sweep files.
        recipe: The recipe whose values the files vary, unless they name one.
        overrides: Fields set in every run, whatever the files say.
        seeds: Seeds to use instead of those in the files.
        defaults: Fields set in every run, unless a file or an override sets them.
        recipe_given: Whether ``recipe`` also replaces the recipe in a file's command.
        count_classes: As in `resolve`.

    Raises:
        ConfigError: A file or one of its runs is invalid, there are too many runs, or an override
            replaces what a file varies. The message names the file.
    """
    files = [sweep_file.load_sweep_file(path) for path in paths]
    sweep_file.count_runs(files, seeds)
    study = _Expansion(
        recipe, flatten(overrides or {}), seeds, defaults or {}, recipe_given, count_classes
    )
    for file in files:
        try:
            study.add(file)
        except ConfigError as error:
            raise ConfigError(f"{file.path}: {error}") from error
    study.check_overrides_used()
    runs = [SweepRun(config, tuple(names)) for config, names in study.runs.values()]
    return sorted(runs, key=lambda run: run.config.seed)


@dataclass
class _Expansion:
    """The runs of sweep files by id; its fields are the arguments of `expand_sweeps`."""

    recipe: str
    overrides: Mapping[str, Any]
    seeds: Sequence[int] | None
    defaults: Mapping[str, Any]
    recipe_given: bool
    count_classes: Callable[[DataConfig], int] | None
    runs: dict[str, tuple[RunConfig, list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Overrides that no run has used so far, with the reason; None before the first run.
        self.unused: dict[str, ConfigError | None] = {
            name: None for name in self.overrides if name in unused_fields.CONDITIONS
        }

    def add(self, file: SweepFile) -> None:
        """Add the runs of a file; raise ConfigError as `expand_sweeps`."""
        self._check_varied(file)
        if self.seeds is not None:
            grid = {name: values for name, values in file.grid.items() if name != "seed"}
            file = replace(file, grid=grid)
        first: dict[str, dict[str, Any]] = {}  # run id -> the values before overrides
        for parameters in file:
            values = file.fields_of(parameters)
            recipe, preset = self._recipe_and_preset(file, values)
            for seed in self.seeds if self.seeds is not None else [values.get("seed", 0)]:
                own = {**values, "seed": seed}
                fields = {**self.defaults, **own, **self.overrides}
                config = resolve(recipe, fields, preset, self.overrides, self.count_classes)
                self._mark_used(config, recipe, preset)
                known, names = self.runs.setdefault(config.run_id, (config, []))
                _check_equal(known, config)
                if file.path.stem not in names:
                    names.append(file.path.stem)
                before = {name: default_value(recipe, preset, name) for name in self.overrides}
                self._check_distinct(first.setdefault(config.run_id, before | own), before | own)

    def _recipe_and_preset(self, file: SweepFile, values: dict[str, Any]) -> tuple[str, str | None]:
        """Remove the recipe and the preset of a run from its values."""
        recipe, preset = values.pop("recipe", self.recipe), values.pop("preset", None)
        if self.recipe_given and "recipe" not in file.grid:
            recipe = self.recipe
        if not isinstance(recipe, str):
            raise ConfigError(f"recipe {recipe!r} is not a name")
        if not isinstance(preset, str | None):
            raise ConfigError(f"preset {preset!r} is not a name")
        return recipe, preset

    def _check_varied(self, file: SweepFile) -> None:
        """Raise ConfigError if an override replaces several values that the file varies."""
        given = {name: f"{value}" for name, value in self.overrides.items()}
        if self.recipe_given:
            given["recipe"] = self.recipe
        for name, values in file.grid.items():
            replaced = sorted(varied_fields(name, values) & given.keys())
            if len(values) > 1 and replaced:
                remedy = "use --seeds" if name == "seed" else "leave the flag out"
                raise ConfigError(
                    f"--{replaced[0]} {given[replaced[0]]} would replace the {len(values)} values "
                    f"of {name}: {remedy}"
                )

    def _check_distinct(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
        """Raise ConfigError if an override has made two presets the same run."""
        for name, value in self.overrides.items() if one is not other else ():
            if one.get(name) != other.get(name) and name not in SCALE_FIELDS:
                raise ConfigError(
                    f"--{name} {value} would make two of its runs equal, which have "
                    f"{one.get(name)!r} and {other.get(name)!r}: leave the flag out"
                )

    def _mark_used(self, config: RunConfig, recipe: str, preset: str | None) -> None:
        """Remember the overrides that this run uses, or that are its recipe's own values."""
        for name in list(self.unused):
            try:
                if differs_from_default(recipe, preset, name, self.overrides[name]):
                    others = self.overrides.keys() - {name}
                    unused_fields.check_unused(config, self.overrides, others)
                del self.unused[name]
            except ConfigError as error:
                self.unused[name] = error

    def check_overrides_used(self) -> None:
        """Raise ConfigError for an override that no run uses."""
        for error in filter(None, self.unused.values()):
            raise error


def _check_equal(known: RunConfig, config: RunConfig) -> None:
    """Raise ConfigError if two runs with one id differ: one of the values would be lost."""
    old, new = flatten(known.to_json()), flatten(config.to_json())
    for name in old if known != config else ():
        if old[name] != new[name]:
            raise ConfigError(
                f"two of its runs have the same id, with {name} {old[name]!r} and {new[name]!r}, "
                "which is not part of the id: give one value, or use another results folder"
            )
