"""The flags of adding seeds look by look, which `ablations run` and `ablations plan` share."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from ablations.cli.options import expand_sweep_files
from ablations.errors import ConfigError, StatisticsError
from ablations.text.parsing import parse_float, parse_int
from ablations.text.phrases import pluralize

if TYPE_CHECKING:
    from ablations.analysis.stats.looks import LookPlan, LookProgress
    from ablations.config.sweep import SweepRun

DEFAULT_LOOKS = "3,5,7,10"


def add_looks(command: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    command.add_argument(
        "--until-decided",
        action="store_true",
        help="add seeds look by look, and none to rows that a look has decided: those that differ "
        "from the baseline, or are equivalent within --margin. The plan is kept in study.json",
    )
    command.add_argument(
        "--looks",
        metavar="LIST",
        help=f"with --until-decided: seeds of each row at each look (default: {DEFAULT_LOOKS})",
    )
    command.add_argument(
        "--margin",
        metavar="POINTS",
        help="with --until-decided: differences below this do not matter (default: no margin, so "
        "that only differences decide)",
    )


def parse_looks(arguments: argparse.Namespace) -> LookPlan | None:
    """The looks that the flags ask for; None without --until-decided.

    Raises:
        ConfigError: --looks or --margin without it, looks below two seeds or out of order, or a
            margin that is not above 0.
    """
    if not arguments.until_decided:
        for name in ("looks", "margin"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name} is for --until-decided")
        return None

    from ablations.analysis.stats.looks import LookPlan, split_error

    text, margin = arguments.looks or DEFAULT_LOOKS, arguments.margin
    try:
        looks = tuple(parse_int(word.strip()) for word in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--looks {text!r}: {error}, such as {DEFAULT_LOOKS}") from error
    try:
        points = None if margin is None else parse_float(margin)
    except ValueError as error:
        raise ConfigError(f"--margin {margin!r}: {error}") from error
    try:
        return LookPlan(looks, split_error(looks), points)
    except StatisticsError as error:
        raise ConfigError(f"--{error}") from error


def expand_looks(arguments: argparse.Namespace, looks: LookPlan | None) -> list[SweepRun]:
    """The runs of the sweep files; with looks, of all seeds that the last look may need.

    Those are --seeds, or 0 to N - 1 for N seeds; the seeds in the files do not count.
    """
    if looks and arguments.seeds is None and "seed" not in arguments.fields_set:
        arguments.seeds = [f"0-{looks.looks[-1] - 1}"]
    return expand_sweep_files(arguments)


def look_line(progress: LookProgress) -> str:
    """What a look has decided, in one line."""
    seeds, new, rest = _last_look(progress)
    found = "; ".join(f"{row}: {verdict}" for row, verdict in new.items()) or "nothing new"
    rows = pluralize(len(rest), "open row") if rest else "no row is open"
    return f"look at {seeds} seeds: {found}; {rows}"


def look_event(progress: LookProgress) -> dict[str, Any]:
    """The same for --json."""
    seeds, new, rest = _last_look(progress)
    now = round(time.time(), 3)
    return {"event": "look", "time": now, "seeds": seeds, "decided": new, "open": rest}


def _last_look(progress: LookProgress) -> tuple[int, dict[str, str], list[str]]:
    """Seeds of the last look, what it decided, and which rows it left open."""
    last = max((each.look for each in progress.decisions.values()), default=0)
    found = {row: each for row, each in progress.decisions.items() if each.look == last}
    seeds = max((each.seeds for each in found.values()), default=0)
    new = {row: each.verdict.value for row, each in found.items() if row in progress.decided}
    return seeds, new, [row for row in progress.decisions if row not in progress.decided]
