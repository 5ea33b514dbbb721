"""Check that a run started by a W&B agent trains what its sweep asks for.

The sweep's `command` makes the command line, and it can lose a parameter or change its value. The
file named by WANDB_SWEEP_PARAM_PATH has the parameters as the sweep has them.
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
    """Raise ConfigError unless the run has the parameters of the agent's sweep.

    Args:
        config: The run.
        fields_set: The fields that it was resolved with.
        preset: The preset that it was resolved with.

    Raises:
        ConfigError: No run has such a parameter, or this run has another value; the message names
            the field and both values.
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
    # The resolved run has the learning rate, not the rule that it follows from.
    for name in sorted(there, key=lambda name: name not in wanted):
        if here[name] != there[name]:
            raise _contradiction(name, here[name], there[name])


def _contradiction(name: str, here: Any, there: Any) -> ConfigError:
    return ConfigError(
        f"{name} is {here!r} on this command line and {there!r} in the sweep: a parameter did not "
        "arrive; let the sweep's command end with ${args}"
    )
