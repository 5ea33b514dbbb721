"""The commands, one file each: ``add`` declares the flags, ``run`` executes the command.

The docstring of the file is its help: a line for the list of commands, then the description.

The namespace that ``run`` gets has the fields of a run that are given as flags, in ``fields_set``.

A command imports what it needs when it runs, so that light commands start without torch.
"""

from __future__ import annotations

from ablations.cli import (
    bench,
    claims,
    clean,
    convert,
    data,
    evaluate,
    images,
    plan,
    profile_command,
    report,
    run,
    status,
    table,
    train,
)

COMMANDS = {
    "plan": plan,
    "train": train,
    "run": run,
    "status": status,
    "clean": clean,
    "table": table,
    "claims": claims,
    "images": images,
    "report": report,
    "eval": evaluate,
    "profile": profile_command,
    "data": data,
    "convert": convert,
    "bench": bench,
}
