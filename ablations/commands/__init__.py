"""The commands, a file each: ``add`` declares its flags, ``run`` does it.

A command imports what it needs when it runs, so that the light ones start without torch.
"""

from __future__ import annotations

from ablations.commands import (
    bench,
    claims,
    clean,
    convert,
    data,
    evaluate,
    plan,
    profile,
    report,
    run,
    status,
    table,
    train,
)

COMMANDS = [plan, train, run, status, clean, table, claims, report, evaluate, profile]
COMMANDS += [data, convert, bench]
