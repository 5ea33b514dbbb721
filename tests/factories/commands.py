"""The commands that tables print, and the runs that they ask for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ablations.config.arguments import split_arguments
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.config.sweep import expand_sweeps


def commands(text: str) -> list[str]:
    return re.findall(r"- Missing .*?: `(.*)`", text)


def configs_of(command: str) -> list[RunConfig]:
    """The runs that a printed command asks for."""
    if loop := re.fullmatch(r"for seed in ([\d ]+); do (.*) \$seed; done", command):
        return [run for seed in loop[1].split() for run in configs_of(f"{loop[2]} {seed}")]
    ablations, name, *words = shlex.split(command)
    assert ablations == "ablations"
    own, fields = split_arguments(words)
    sweeps = own[: len(own) % 2]
    options = dict(zip(own[len(sweeps) :: 2], own[len(sweeps) + 1 :: 2], strict=True))
    if name == "train":
        return [resolve(options["--recipe"], fields)]
    seeds = list(map(int, options["--seeds"].split(",")))
    found = expand_sweeps(list(map(Path, sweeps)), options["--recipe"], fields, seeds)
    return [cell.config for cell in found]
