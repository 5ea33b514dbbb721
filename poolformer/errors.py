"""The errors that this package raises, one hierarchy. `ablations.errors` extends it.

Standard library only.
"""

from __future__ import annotations


class PoolformerError(Exception):
    """Base class of every error with a message for the user, here and in `ablations`.

    The message is one line: what is wrong, where, and what to do.
    """

    exit_code = 2  # of a command that ends with this error: 2 for wrong input, 1 for a failure


class ConfigError(PoolformerError, ValueError):
    """A model or a run that cannot be built; the message names the valid values."""


class CheckpointError(ConfigError):
    """A file that holds no weights, or weights that do not fit the model."""
