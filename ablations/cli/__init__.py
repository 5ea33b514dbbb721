"""The commands, one file each: ``add`` declares the flags, ``run`` executes the command.

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
    plan,
    profile_command,
    report,
    run,
    status,
    table,
    train,
)

COMMANDS = [plan, train, run, status, clean, table, claims, report, evaluate, profile_command]
COMMANDS += [data, convert, bench]
