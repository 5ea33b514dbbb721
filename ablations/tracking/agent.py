"""What a W&B agent's sweep gave a run, held against what the run is about to train.

The command line is made by the sweep's `command`, which can lose a parameter or set another value
for it; the file that WANDB_SWEEP_PARAM_PATH names has them as the sweep does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablations.config.arguments import expand_group
from ablations.config.resolve import FIELDS, GROUPS, flatten, resolve, unknown_field
from ablations.config.schema import RunConfig
from ablations.data import count_classes
from ablations.errors import ConfigError
from ablations.tracking.client import sweep_parameters


def check_sweep_parameters(
    config: RunConfig, fields_set: Mapping[str, Any], preset: str | None
) -> None:
    """Refuse a run that is not the one which the agent's sweep asks for.

    Args:
        config: The run.
        fields_set: The fields that it was resolved with.
        preset: The preset that it was resolved with.

    Raises:
        ConfigError: A parameter of the sweep that no run has, or that this run has another value
            of; names the field and both values.
    """
    given = {name: value for name, value in sweep_parameters().items() if name != "_wandb"}
    if not given:
        return
    for name, chosen in (("recipe", config.recipe), ("preset", preset)):
        if name in given and (named := given.pop(name)) != chosen:
            raise _contradiction(name, chosen, named)
    wanted: dict[str, Any] = {}
    for name, value in given.items():
        if name not in FIELDS and name not in GROUPS:
            raise ConfigError(unknown_field("parameter of the sweep", name))
        wanted |= expand_group(name, value) if name in GROUPS else {name: value}
    asked = resolve(config.recipe, {**fields_set, **wanted}, preset, count_classes=count_classes)
    here, there = flatten(config.to_json()), flatten(asked.to_json())
    # A learning rate by its rule is no field of the resolved run: then the rate is named.
    for name in sorted(there, key=lambda name: name not in wanted):
        if here[name] != there[name]:
            raise _contradiction(name, here[name], there[name])


def _contradiction(name: str, here: Any, there: Any) -> ConfigError:
    return ConfigError(
        f"{name} is {here!r} on this command line and {there!r} in the sweep: a parameter did not "
        "arrive; let the sweep's command end with ${args}"
    )
