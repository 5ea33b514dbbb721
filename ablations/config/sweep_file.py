"""A sweep file, as W&B reads it. Every key is either understood or refused.

`ablations run` and `wandb agent` give the same runs: a key that only one of them supports is an
error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

from ablations.config import sweep_command, yaml_file
from ablations.config.arguments import CHOICES, expand_group
from ablations.config.resolve import FIELDS, GROUPS, unknown_field
from ablations.errors import ConfigError
from ablations.text.parsing import MOST
from poolformer.config import unknown_name

PARAMETERS = [*FIELDS, *CHOICES]
# The top-level keys of W&B's schema, and those that only an agent supports.
KEYS = ["apiVersion", "kind", "controller", "description", "program", "job", "image_uri", "entity"]
KEYS += ["project", "method", "command", "name", "run_cap", "metric", "metrics", "scheduler"]
KEYS += ["early_terminate", "parameters"]
REFUSED = {
    "early_terminate": "it ends runs before their last epoch, so that they cannot be compared",
    "job": "it belongs to W&B Launch, which starts another program",
    "image_uri": "it belongs to W&B Launch, which starts another program",
    "scheduler": "it belongs to W&B Launch, which starts another program",
}
METRICS = ["val/top1", "val/top5", "val/loss", "train/loss"]
# The keys of a parameter in W&B's schema: for a grid, and for a search over distributions.
GRID_KEYS = ["value", "values", "min", "max", "distribution", "parameters"]
SEARCH_KEYS = ["probabilities", "q", "mu", "sigma", "a", "b"]
DISTRIBUTIONS = {"constant": ["value"], "categorical": ["values"], "int_uniform": ["min", "max"]}
NEEDS = "needs values: [...], value: ..., or whole min <= max"


@dataclass(frozen=True)
class SweepFile:
    """A valid sweep file.

    Args:
        path: The file.
        grid: The values of each parameter. W&B varies the last parameter fastest.
        before: Fields that ``command`` sets before the parameters, which override them; also the
            file's project.
        after: Fields that ``command`` sets after the parameters, which must not contradict them.
        cap: The maximum number of runs (``run_cap``), from the first; None for all.
    """

    path: Path
    grid: dict[str, Sequence[Any]]
    before: dict[str, Any]
    after: dict[str, Any]
    cap: int | None

    @property
    def count(self) -> int:
        """The number of runs, computed without listing them."""
        every = math.prod(len(values) for values in self.grid.values())
        return every if self.cap is None else min(every, self.cap)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The parameters of each run, in W&B's order."""
        runs = (dict(zip(self.grid, row, strict=True)) for row in product(*self.grid.values()))
        return islice(runs, self.cap)

    def fields_of(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All fields of a run: its parameters and the flags of ``command``."""
        own: dict[str, Any] = {}
        for name, value in parameters.items():
            own |= expand_group(name, value) if name in GROUPS else {name: value}
        return {**self.before, **own, **self.after}


def load_sweep_file(path: Path) -> SweepFile:
    """Read a sweep file.

    Raises:
        ConfigError: The file does not exist, is not a YAML mapping, has an unknown key, a
            parameter that is not a finite list, or a key that `ablations run` does not support.
    """
    tree = yaml_file.load_yaml(path)
    try:
        return _read(path, tree)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read(path: Path, tree: Any) -> SweepFile:
    if not isinstance(tree, Mapping):
        raise ConfigError("it must be a mapping with the keys method and parameters")
    for key, value in tree.items():
        _check_key(key, value)
    parameters = tree.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        raise ConfigError("parameters is missing: it must be a mapping of fields to values")
    if tree.get("method") != "grid":
        raise ConfigError(
            f"method {tree.get('method')!r}: `ablations run` supports only grid (use `wandb agent` "
            "for a search over distributions)"
        )
    cap = tree.get("run_cap")
    if cap is not None and (type(cap) is not int or cap < 1):
        raise ConfigError(f"run_cap {cap!r} must be a whole number, 1 or more")
    before, after = sweep_command.command_fields(tree.get("program"), tree.get("command"))
    if project := tree.get("project"):  # an agent logs to the project of the sweep
        before = {"system.project": project, **before}
    file = SweepFile(path, _grid(parameters), before, after, cap)
    _check_fixed(file)
    return file


def _check_key(key: str, value: Any) -> None:
    """Raise ConfigError for a top-level key that is unknown or not supported."""
    if key in ("seed", "seeds"):
        raise ConfigError(f"{key!r} belongs under parameters: `seed: {{values: [0, 1, 2]}}`")
    if key in PARAMETERS or key in GROUPS:
        raise ConfigError(f"{key!r} belongs under parameters: `{key}: {{value: ...}}`")
    if key not in KEYS:
        raise ConfigError(unknown_name("key", key, KEYS, f"valid are {', '.join(KEYS)}"))
    if value is None:
        return
    if key in REFUSED:
        raise ConfigError(f"{key} is not supported: {REFUSED[key]}. Leave it out")
    if key in ("metric", "metrics"):
        for metric in value if key == "metrics" and isinstance(value, list) else [value]:
            _check_metric(metric)
    if key in ("name", "description", "project", "entity") and not isinstance(value, str):
        raise ConfigError(f"{key} {value!r} must be text: write it in quotes")
    if key == "controller" and value not in ({"type": "cloud"}, {"type": "local"}):
        raise ConfigError("controller must be {type: cloud} or {type: local}")
    if key == "kind" and value != "sweep":
        raise ConfigError(f"kind {value!r} must be sweep")


def _check_metric(metric: Any) -> None:
    if not isinstance(metric, Mapping) or "name" not in metric:
        raise ConfigError("metric must be {name: val/top1, goal: maximize}")
    for key in metric:
        if key == "target":
            raise ConfigError("metric.target would end the sweep before its last run: leave it out")
        if key not in ("name", "goal"):
            raise ConfigError(unknown_name("key of metric", key, ["name", "goal"]))
    if metric["name"] not in METRICS:
        raise ConfigError(unknown_name("metric", metric["name"], METRICS))
    if metric.get("goal", "minimize") not in ("minimize", "maximize"):
        raise ConfigError(unknown_name("goal", metric["goal"], ["minimize", "maximize"]))


def _grid(parameters: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """The values of each parameter, sorted by name at each level as W&B sorts them."""
    grid: dict[str, Sequence[Any]] = {}
    for name in sorted(parameters):
        parameter = parameters[name]
        if isinstance(parameter, Mapping) and "parameters" in parameter:
            inner = parameter["parameters"]
            if name not in GROUPS:
                raise ConfigError(unknown_name("group of parameters", name, GROUPS))
            if not isinstance(inner, Mapping) or not inner or len(parameter) > 1:
                raise ConfigError(
                    f"{name} must have only parameters, a mapping of fields to values: "
                    f"`{name}: {{parameters: {{...: {{values: [...]}}}}}}`"
                )
            found = {f"{name}.{field}": inner[field] for field in sorted(inner)}
        else:
            found = {name: parameter}
        for field, each in found.items():
            if field not in PARAMETERS and field not in GROUPS:
                raise ConfigError(unknown_field("parameter", field))
            if field in grid:
                raise ConfigError(f"{field} is given twice, nested and dotted: remove one")
            grid[field] = _values(field, each)
    for name in GROUPS:
        if twice := sorted(varied_fields(name, grid.get(name, ())) & grid.keys()):
            raise ConfigError(f"{twice[0]} is given twice, in {name} and dotted: remove one")
    return grid


def _values(name: str, parameter: Any) -> Sequence[Any]:
    """The values of one parameter, duplicates dropped as W&B drops them."""
    if not isinstance(parameter, Mapping):
        raise ConfigError(f"{name} {NEEDS}")
    for key in parameter:
        if key in SEARCH_KEYS:
            raise ConfigError(f"{name} has {key}, which a grid does not support: list the values")
        if key not in GRID_KEYS:
            raise ConfigError(f"{name}: {unknown_name('key', key, GRID_KEYS)}")
    kind = parameter.get("distribution")
    if kind is not None and kind not in DISTRIBUTIONS:
        raise ConfigError(
            f"{name} has distribution {kind!r}; a grid supports {', '.join(DISTRIBUTIONS)}: list "
            "the values"
        )
    own = {key: value for key, value in parameter.items() if key != "distribution"}
    form = next((form for form, keys in DISTRIBUTIONS.items() if own.keys() == {*keys}), None)
    if form and kind not in (None, form):
        raise ConfigError(
            f"{name} has distribution {kind} and {DISTRIBUTIONS[form][0]}: remove one"
        )
    if form == "constant":
        return [own["value"]]
    if form == "categorical" and isinstance(own["values"], list) and own["values"]:
        once: dict[str, Any] = {}
        for value in own["values"]:
            once.setdefault(_key(value), value)
        return list(once.values())
    if form == "int_uniform":
        low, high = own["min"], own["max"]
        if type(low) is int and type(high) is int and low <= high:
            return range(low, high + 1)
    raise ConfigError(f"{name} {NEEDS}")


def _key(value: Any) -> str:
    """A key by which values are equal: 1 and 1.0 are, but 1, true and "1" are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _check_fixed(file: SweepFile) -> None:
    """Raise ConfigError for a flag of ``command`` that contradicts a parameter."""
    varied = dict(file.grid)
    for name in varied.keys() & GROUPS:
        varied |= dict.fromkeys(varied_fields(name, varied[name]), ())
    if twice := [name for name in CHOICES if name in file.before and name in file.grid]:
        raise ConfigError(f"{twice[0]} is both a parameter and a flag of command: remove one")
    for name in file.after:
        if name in varied and list(map(str, varied[name])) != [str(file.after[name])]:
            raise ConfigError(
                f"command sets {name} after ${{args}}, which would override the values in "
                "parameters: remove one"
            )


def varied_fields(name: str, values: Iterable[Any]) -> set[str]:
    """The fields that a parameter sets: itself, or those in the values of a group."""
    if name not in GROUPS:
        return {name}
    return {field for value in values for field in expand_group(name, value)}


def count_runs(files: Sequence[SweepFile], seeds: Sequence[int] | None) -> int:
    """The number of runs in files; a run in two files counts twice.

    Raises:
        ConfigError: Too many runs, or ``run_cap`` together with other seeds.
    """
    count = 0
    for file in files:
        if seeds is not None and file.cap is not None:
            raise ConfigError(
                f"{file.path}: run_cap {file.cap} counts runs with the seeds in the file: remove "
                "--seeds or run_cap"
            )
        own = file.count
        if seeds is not None:
            own = own // len(file.grid.get("seed", (0,))) * len(seeds)
        if own > MOST:
            raise ConfigError(f"{file.path} has {own:,} runs, more than {MOST:,}")
        count += own
    if count > MOST:
        raise ConfigError(f"the files have {count:,} runs together, more than {MOST:,}")
    return count
