"""The commands, a file each: ``add`` declares its flags, ``run`` does it.

A command imports what it needs when it runs, so that the light ones start without torch.
"""

from __future__ import annotations

from ablations.commands import convert, evaluate, profile, run, table, train

COMMANDS = [train, run, table, evaluate, profile, convert]
