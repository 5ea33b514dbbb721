"""sweeps/*.yaml -> cells, with W&B's meaning of the file.

A sweep file is a W&B grid: `wandb sweep` and `ablations run` read the same parameters. Besides the
fields of a run, ``preset`` names a preset of the recipe.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ablations.config import RunConfig
from ablations.resolve import FIELDS, GROUPS, resolve, unknown_field
from poolformer.config import ConfigError

PARAMETERS = [*FIELDS, "preset"]


@dataclass(frozen=True)
class Cell:
    """One run of a study and the sweep files that ask for it."""

    config: RunConfig
    sweeps: tuple[str, ...]


def read(path: Path) -> list[dict[str, Any]]:
    """The parameters of each cell of one sweep file, in W&B's order: the last name runs fastest.

    Raises:
        ConfigError: No such file, no YAML mapping, no ``parameters``, a parameter that no run has,
            or one that is not a finite list.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path} must be a mapping with the keys method and parameters")
    parameters = tree.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        raise ConfigError(f"{path} lacks parameters: a mapping of field to values")
    if tree.get("method") != "grid":
        raise ConfigError(
            f"{path} has method {tree.get('method')!r}; `ablations run` knows grid (a search over "
            "distributions is for `wandb agent`)"
        )
    grid = {
        name: _values(path, name, parameters_of)
        for name, parameters_of in _flat(path, parameters).items()
    }
    names = sorted(grid)
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(grid[name] for name in names))
    ]


def _flat(path: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Nested parameters (``model: {parameters: {norm: ...}}``) as dotted ones; names checked."""
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        inside = value.get("parameters") if isinstance(value, Mapping) else None
        if name in GROUPS and isinstance(inside, Mapping):
            flat.update({f"{name}.{inner}": item for inner, item in inside.items()})
        else:
            flat[str(name)] = value
    for name in flat:
        if name not in PARAMETERS:
            raise ConfigError(f"{path}: {unknown_field('parameter', name)}")
    return flat


def _values(path: Path, name: str, parameter: Any) -> list[Any]:
    """The values of one parameter, duplicates dropped."""
    if isinstance(parameter, Mapping) and "values" in parameter:
        values = parameter["values"]
        if isinstance(values, list) and values:
            return [value for i, value in enumerate(values) if value not in values[:i]]
    elif isinstance(parameter, Mapping) and "value" in parameter:
        return [parameter["value"]]
    elif isinstance(parameter, Mapping) and {"min", "max"} <= set(parameter):
        low, high = parameter["min"], parameter["max"]
        whole = isinstance(low, int) and isinstance(high, int)
        if whole and low <= high and parameter.get("distribution", "int_uniform") == "int_uniform":
            return list(range(low, high + 1))
    raise ConfigError(f"{path}: {name} needs values: [...], value: ..., or whole min <= max")


def expand(
    paths: Iterable[Path],
    recipe: str,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> list[Cell]:
    """The cells of sweep files on a recipe: each run once, whichever files ask for it.

    The first seed of every variant comes before the second of any, so that a study that is stopped
    early has whole tables with fewer seeds rather than a part of the rows.

    Args:
        paths: The sweep files.
        recipe: The recipe that the files' values change.
        overrides: Fields set in every cell; they win over the files.
        seeds: In place of the files' seeds.
        defaults: Fields set where neither the file nor an override says anything.

    Raises:
        ConfigError: A file or a cell that is wrong; names the file.
    """
    configs: dict[str, tuple[RunConfig, list[str]]] = {}
    for path in paths:
        for cell in read(path):
            preset = cell.pop("preset", None)
            if not isinstance(preset, str | None):
                raise ConfigError(f"{path}: preset {preset!r} is not a name")
            for seed in seeds or [cell.get("seed", 0)]:
                values = {**(defaults or {}), **cell, "seed": seed, **(overrides or {})}
                try:
                    config = resolve(recipe, values, preset)
                except ConfigError as error:
                    raise ConfigError(f"{path}: {error}") from error
                names = configs.setdefault(config.run_id, (config, []))[1]
                if path.stem not in names:
                    names.append(path.stem)
    cells = [Cell(config, tuple(names)) for config, names in configs.values()]
    return sorted(cells, key=lambda cell: cell.config.seed)
