"""One sweep file -> its runs, with W&B's meaning of it. Nothing in it is dropped: read or refused.

What `wandb agent` would do with a key that `ablations run` cannot do, or the other way round, is an
error, so that both ways of launching a file give the same runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
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
# What W&B's schema has at the top of a file; and of these, what an agent would do and we cannot.
KEYS = ["apiVersion", "kind", "controller", "description", "program", "job", "image_uri", "entity"]
KEYS += ["project", "method", "command", "name", "run_cap", "metric", "metrics", "scheduler"]
KEYS += ["early_terminate", "parameters"]
REFUSED = {
    "early_terminate": "it ends runs before their last epoch, which then cannot be compared",
    "job": "it is W&B Launch's, which starts another program",
    "image_uri": "it is W&B Launch's, which starts another program",
    "scheduler": "it is W&B Launch's, which starts another program",
}
METRICS = ["val/top1", "val/top5", "val/loss", "train/loss"]
# Of a parameter in W&B's schema: those of a grid, and those of a search over distributions.
GRID_KEYS = ["value", "values", "min", "max", "distribution", "parameters"]
SEARCH_KEYS = ["probabilities", "q", "mu", "sigma", "a", "b"]
DISTRIBUTIONS = {"constant": "value", "categorical": "values", "int_uniform": "min"}
NEEDS = "needs values: [...], value: ..., or whole min <= max"


@dataclass(frozen=True)
class SweepFile:
    """A file that has been read.

    Args:
        path: Where it is.
        grid: The values of each parameter, in the order in which W&B varies them: the last fastest.
        before: Flags of ``command`` that stand before the parameters, which win over them; also
            the file's project.
        after: Those that stand after the parameters, none of which they may contradict.
        cap: How many runs at most (``run_cap``), from the first; None for all.
    """

    path: Path
    grid: dict[str, Sequence[Any]]
    before: dict[str, Any]
    after: dict[str, Any]
    cap: int | None

    @property
    def count(self) -> int:
        """How many runs it asks for; nothing is listed for that."""
        every = math.prod(len(values) for values in self.grid.values())
        return every if self.cap is None else min(every, self.cap)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The parameters of each run, in W&B's order."""
        runs = (dict(zip(self.grid, row, strict=True)) for row in product(*self.grid.values()))
        return islice(runs, self.cap)

    def whole(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A run's parameters with the flags of ``command``, as flat fields."""
        own: dict[str, Any] = {}
        for name, value in given.items():
            own |= expand_group(name, value) if name in GROUPS else {name: value}
        return {**self.before, **own, **self.after}


def load_sweep_file(path: Path) -> SweepFile:
    """A sweep file.

    Raises:
        ConfigError: No such file, no YAML mapping, a key or a parameter that is not understood or
            not a finite list, or what `ablations run` cannot do as an agent does it.
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
        raise ConfigError("it lacks parameters: a mapping of field to values")
    if tree.get("method") != "grid":
        raise ConfigError(
            f"method {tree.get('method')!r}; `ablations run` knows grid (a search over "
            "distributions is for `wandb agent`)"
        )
    cap = tree.get("run_cap")
    if cap is not None and (type(cap) is not int or cap < 1):
        raise ConfigError(f"run_cap {cap!r} must be a whole number, 1 or more")
    before, after = sweep_command.command_fields(tree.get("program"), tree.get("command"))
    if project := tree.get("project"):  # an agent's runs are in the sweep's
        before = {"system.project": project, **before}
    made = SweepFile(path, _grid(parameters), before, after, cap)
    _check_fixed(made)
    return made


def _check_key(key: str, value: Any) -> None:
    """Raise ConfigError for a key at the top that is not understood or cannot be followed."""
    if key in ("seed", "seeds"):
        raise ConfigError(f"{key!r} belongs under parameters: `seed: {{values: [0, 1, 2]}}`")
    if key in PARAMETERS or key in GROUPS:
        raise ConfigError(f"{key!r} belongs under parameters: `{key}: {{value: ...}}`")
    if key not in KEYS:
        raise ConfigError(unknown_name("key", key, KEYS, f"valid are {', '.join(KEYS)}"))
    if value is None:
        return
    if key in REFUSED:
        raise ConfigError(f"{key} is for W&B alone: {REFUSED[key]}; leave it out")
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
            raise ConfigError("metric.target ends a sweep before its last run: leave it out")
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
                    f"{name} must have a mapping of field to values as its parameters, alone: did "
                    f"you mean `{name}: {{parameters: {{...: {{values: [...]}}}}}}`?"
                )
            found = {f"{name}.{field}": inner[field] for field in sorted(inner)}
        else:
            found = {name: parameter}
        for field, each in found.items():
            if field not in PARAMETERS and field not in GROUPS:
                raise ConfigError(unknown_field("parameter", field))
            if field in grid:
                raise ConfigError(f"{field} is given twice, nested and dotted: leave one")
            grid[field] = _values(field, each)
    for name in GROUPS:
        inside = {field for value in grid.get(name, ()) for field in expand_group(name, value)}
        if twice := sorted(inside & grid.keys()):
            raise ConfigError(f"{twice[0]} is given twice, within {name} and dotted: leave one")
    return grid


def _values(name: str, parameter: Any) -> Sequence[Any]:
    """The values of one parameter, duplicates dropped as W&B drops them."""
    if not isinstance(parameter, Mapping):
        raise ConfigError(f"{name} {NEEDS}")
    for key in parameter:
        if key in SEARCH_KEYS:
            raise ConfigError(f"{name} has {key}, which a grid does not take: list its values")
        if key not in GRID_KEYS:
            raise ConfigError(f"{name}: {unknown_name('key', key, GRID_KEYS)}")
    kind = parameter.get("distribution")
    if kind is not None and kind not in DISTRIBUTIONS:
        raise ConfigError(
            f"{name} has distribution {kind!r}, and a grid takes {', '.join(DISTRIBUTIONS)}: list "
            "its values"
        )
    forms = [form for form in DISTRIBUTIONS.values() if form in parameter]
    keys = parameter.keys() - {"distribution"}
    if len(forms) != 1 or keys not in ({"value"}, {"values"}, {"min", "max"}):
        raise ConfigError(f"{name} {NEEDS}")
    if kind is not None and DISTRIBUTIONS[kind] != forms[0]:
        raise ConfigError(f"{name} has distribution {kind} and {forms[0]}: leave one out")
    if forms == ["value"]:
        return [parameter["value"]]
    if forms == ["values"]:
        values = parameter["values"]
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{name} {NEEDS}")
        once: dict[str, Any] = {}
        for value in values:
            once.setdefault(_key(value), value)
        return list(once.values())
    low, high = parameter["min"], parameter["max"]
    if type(low) is not int or type(high) is not int or low > high:
        raise ConfigError(f"{name} {NEEDS}")
    return range(low, high + 1)


def _key(value: Any) -> str:
    """What tells two values apart: 1 and 1.0 are one, 1, true and "1" are three."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _check_fixed(made: SweepFile) -> None:
    """Raise ConfigError for a flag of ``command`` that contradicts a parameter."""
    varied = dict(made.grid)
    for name in GROUPS:
        for value in made.grid.get(name, ()):
            varied |= {field: [] for field in expand_group(name, value)}
    if twice := [name for name in CHOICES if name in made.before and name in made.grid]:
        raise ConfigError(f"{twice[0]} is both a parameter and a flag of command: leave one out")
    for name in made.after:
        if name in varied and list(map(str, varied[name])) != [str(made.after[name])]:
            raise ConfigError(
                f"command sets {name} after ${{args}}, so that no agent would train the values "
                "that parameters give: leave one out"
            )


def count_runs(files: Sequence[SweepFile], seeds: Sequence[int] | None) -> int:
    """How many runs files ask for, each counted as often as it is asked for.

    Raises:
        ConfigError: More than are listed at once, or a cap on runs with other seeds.
    """
    count = 0
    for made in files:
        if seeds is not None and made.cap is not None:
            raise ConfigError(
                f"{made.path}: run_cap {made.cap} counts the runs of the file's own seeds: leave "
                "out --seeds or run_cap"
            )
        own = made.count
        if seeds is not None:
            own = own // len(made.grid.get("seed", (0,))) * len(seeds)
        if own > MOST:
            raise ConfigError(f"{made.path}: it asks for {own:,} runs: at most {MOST:,}")
        count += own
    if count > MOST:
        raise ConfigError(f"the files ask for {count:,} runs together: at most {MOST:,}")
    return count
