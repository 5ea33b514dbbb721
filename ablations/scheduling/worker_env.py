"""Environment variables that the runner gives to the processes that train runs."""

from __future__ import annotations

import os

from ablations.tracking.client import IDENTITY_VARIABLES

# Unset for workers. Each run has its own identity in W&B, and each worker its own client: with the
# runner's client, a worker that ends would mark runs of others as finished.
NO_WANDB_IDENTITY = dict.fromkeys(IDENTITY_VARIABLES)


def wandb_variables(shared: bool) -> dict[str, str]:
    """The W&B settings for a worker on another machine, the API key included.

    Args:
        shared: Whether that machine mounts this one's folders.
    """
    skipped = {*NO_WANDB_IDENTITY} if shared else {*NO_WANDB_IDENTITY, "WANDB_DIR"}
    names = [name for name in os.environ if name.startswith("WANDB_") and name not in skipped]
    return {name: os.environ[name] for name in names}
