"""sweeps/*.yaml -> the runs of a study: each once, whichever files ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablations.config import sweep_file, unused_fields
from ablations.config.arguments import expand_group
from ablations.config.resolve import GROUPS, default_value, differs_from_default, flatten, resolve
from ablations.config.schema import DataConfig, RunConfig
from ablations.config.sweep_file import PARAMETERS, SweepFile
from ablations.errors import ConfigError

__all__ = ["PARAMETERS", "SweepRun", "expand_sweeps", "sweep_grid"]

# What an override may set for a whole study although presets differ in it.
SCALE = ["model.depths", "model.dims", "data.batch_size"]


@dataclass(frozen=True)
class SweepRun:
    """One run of a study and the sweep files that ask for it."""

    config: RunConfig
    sweeps: tuple[str, ...]


def sweep_grid(path: Path) -> list[dict[str, Any]]:
    """The parameters of each run of one sweep file, in W&B's order: the last name runs fastest.

    Raises:
        ConfigError: As ``sweep_file.read``, or too many runs.
    """
    made = sweep_file.load_sweep_file(path)
    sweep_file.count_runs([made], None)
    return list(made)


def expand_sweeps(
    paths: Iterable[Path],
    recipe: str,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
    defaults: Mapping[str, Any] | None = None,
    recipe_given: bool = False,
    count_classes: Callable[[DataConfig], int] | None = None,
) -> list[SweepRun]:
    """The runs of sweep files on a recipe: each once, whichever files ask for it.

    The first seed of every variant comes before the second of any, so that a study that is stopped
    early has whole tables with fewer seeds rather than a part of the rows.

    Args:
        paths: The sweep files.
        recipe: The recipe that the files' values change, where they name none.
        overrides: Fields set in every run; they win over the files.
        seeds: In place of the files' seeds.
        defaults: Fields set where neither the file nor an override says anything.
        recipe_given: Whether the recipe wins over one that a file's command names.
        count_classes: As in ``resolve``.

    Raises:
        ConfigError: A file or a run that is wrong, too many runs, or an override that leaves
            nothing of what a file varies; names the file.
    """
    files = [sweep_file.load_sweep_file(path) for path in paths]
    sweep_file.count_runs(files, seeds)
    overrides = flatten(overrides or {})
    study = _Study(recipe, overrides, seeds, defaults or {}, recipe_given, count_classes)
    for made in files:
        try:
            study.add(made)
        except ConfigError as error:
            raise ConfigError(f"{made.path}: {error}") from error
    study.check_read()
    cells = [SweepRun(config, tuple(names)) for config, names in study.configs.values()]
    return sorted(cells, key=lambda cell: cell.config.seed)


def _check_one(known: RunConfig, config: RunConfig) -> None:
    """Raise ConfigError where two runs of one id differ: one of the values would be lost."""
    if known == config:
        return
    here, there = flatten(known.to_json()), flatten(config.to_json())
    for name in here:
        if here[name] != there[name]:
            raise ConfigError(
                f"two of its runs are one, with {name} {here[name]!r} and {there[name]!r}, which "
                "does not tell runs apart: give one value, and for another one use another results "
                "folder"
            )


class _Study:
    """Runs by id, while files are added."""

    def __init__(
        self,
        recipe: str,
        overrides: Mapping[str, Any],
        seeds: Sequence[int] | None,
        defaults: Mapping[str, Any],
        recipe_given: bool,
        count_classes: Callable[[DataConfig], int] | None,
    ) -> None:
        self.recipe, self.overrides, self.seeds = recipe, overrides, seeds
        self.defaults, self.recipe_given = defaults, recipe_given
        self.count_classes = count_classes
        self.configs: dict[str, tuple[RunConfig, list[str]]] = {}
        # Overrides that no run has read so far, and why; None before the first run.
        self.unread: dict[str, ConfigError | None] = {
            name: None for name in overrides if name in unused_fields.READERS
        }

    def add(self, made: SweepFile) -> None:
        """The runs of one file.

        Raises:
            ConfigError: As ``expand``.
        """
        self._check_axes(made)
        if self.seeds is not None:
            grid = {name: values for name, values in made.grid.items() if name != "seed"}
            made = replace(made, grid=grid)
        first: dict[str, dict[str, Any]] = {}
        for parameters in made:
            values = made.whole(parameters)
            recipe, preset = self._names(made, values)
            for seed in self.seeds if self.seeds is not None else [values.get("seed", 0)]:
                own = {**values, "seed": seed}
                every = {**self.defaults, **own, **self.overrides}
                config = resolve(recipe, every, preset, self.overrides, self.count_classes)
                self._strike_read(config, recipe, preset)
                known, names = self.configs.setdefault(config.run_id, (config, []))
                _check_one(known, config)
                if made.path.stem not in names:
                    names.append(made.path.stem)
                before = {
                    name: default_value(recipe, preset, name) for name in self.overrides
                } | own
                self._check_two(first.setdefault(config.run_id, before), before)

    def _names(self, made: SweepFile, values: dict[str, Any]) -> tuple[str, str | None]:
        """The recipe and the preset of a run, taken out of its values.

        A recipe that the user names wins over one that the file's command does.
        """
        recipe, preset = values.pop("recipe", self.recipe), values.pop("preset", None)
        if self.recipe_given and "recipe" not in made.grid:
            recipe = self.recipe
        if not isinstance(recipe, str):
            raise ConfigError(f"recipe {recipe!r} is not a name")
        if not isinstance(preset, str | None):
            raise ConfigError(f"preset {preset!r} is not a name")
        return recipe, preset

    def _check_axes(self, made: SweepFile) -> None:
        """Raise ConfigError where an override leaves one of several values that a file varies."""
        given = {name: f"{value}" for name, value in self.overrides.items()}
        if self.recipe_given:
            given["recipe"] = self.recipe
        for name, values in made.grid.items():
            fields = {name}
            if name in GROUPS:
                fields = {field for value in values for field in expand_group(name, value)}
            for field in sorted(fields & given.keys()):
                if len(values) > 1:
                    remedy = "use --seeds" if name == "seed" else "leave the flag out"
                    raise ConfigError(
                        f"--{field} {given[field]} would make the {len(values)} values of {name} "
                        f"one: {remedy}"
                    )

    def _check_two(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
        """Raise ConfigError where overrides have made one run of two presets.

        Not for fields of a study's scale: a smaller model for all rows may make two of them one.
        """
        if one is other:
            return
        for name, value in self.overrides.items():
            if one.get(name) != other.get(name) and name not in SCALE:
                raise ConfigError(
                    f"--{name} {value} would make two of its runs one, which have "
                    f"{one.get(name)!r} and {other.get(name)!r}: leave the flag out"
                )

    def _strike_read(self, config: RunConfig, recipe: str, preset: str | None) -> None:
        """Strike out the overrides that this run reads, or that are its recipe's own values."""
        for name in list(self.unread):
            try:
                if differs_from_default(recipe, preset, name, self.overrides[name]):
                    unused_fields.check_unused(
                        config, self.overrides, self.overrides.keys() - {name}
                    )
                del self.unread[name]
            except ConfigError as error:
                self.unread[name] = error

    def check_read(self) -> None:
        """Raise ConfigError for an override that no run of the study reads."""
        for error in filter(None, self.unread.values()):
            raise error
