"""The commands, a file each: ``add`` declares its flags, ``run`` does it.

A command imports what it needs when it runs, so that the light ones start without torch.
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
