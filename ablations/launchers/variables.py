"""Environment variables of the processes that train cells."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

# Inherited by the workers before they load the libraries that read them.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Each worker has a W&B client of its own: with the runner's, its end would end their runs well.
OWN_CLIENT = {"WANDB_SERVICE": None}


@contextlib.contextmanager
def inherited(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Variables of the block, seen by the processes that are started in it; None: without it."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def tracking(shared: bool) -> dict[str, str]:
    """What tells a worker on another machine where its runs are mirrored, a key among it.

    Args:
        shared: Whether that machine sees this one's folders.
    """
    here = {*OWN_CLIENT} if shared else {*OWN_CLIENT, "WANDB_DIR"}
    names = [name for name in os.environ if name.startswith("WANDB_") and name not in here]
    return {name: os.environ[name] for name in names}
