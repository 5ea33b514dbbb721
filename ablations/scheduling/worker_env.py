"""Environment variables of the processes that train runs."""

from __future__ import annotations

import os

from ablations.tracking.client import IDENTITY_VARIABLES

# A worker trains run after run: each has an identity of its own in W&B, and the worker a client of
# its own. With the runner's, its end would end their runs well.
OWN_CLIENT = dict.fromkeys(IDENTITY_VARIABLES)


def tracking(shared: bool) -> dict[str, str]:
    """What tells a worker on another machine where its runs are mirrored, a key among it.

    Args:
        shared: Whether that machine sees this one's folders.
    """
    here = {*OWN_CLIENT} if shared else {*OWN_CLIENT, "WANDB_DIR"}
    names = [name for name in os.environ if name.startswith("WANDB_") and name not in here]
    return {name: os.environ[name] for name in names}
