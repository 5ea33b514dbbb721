"""The log of a run, beside its record: messages of the libraries and of the run itself."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from ablations.console import screen
from ablations.machine import files
from ablations.text.escape import redact_credentials

LEVELS = {
    "ablations": logging.INFO,
    "pytorch_lightning": logging.INFO,
    "lightning_fabric": logging.INFO,
    "lightning": logging.INFO,
    "wandb": logging.WARNING,  # below, it logs each of its own steps
    "py.warnings": logging.INFO,
}


class _RedactingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact_credentials(super().format(record))


@contextlib.contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Append the log messages of this block to a file, and keep them off the screen.

    Raises:
        OSError: The file cannot be written, or is a link to another file.
    """
    # A full disk must not end a run through its log; the run's own files report it.
    stream = screen.lenient_stream(files.open_append(path), closefd=True)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_RedactingFormatter("%(asctime)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in LEVELS]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    logging.captureWarnings(True)
    try:
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
            logger.setLevel(LEVELS[logger.name])
        yield
    finally:
        logging.captureWarnings(False)
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        stream.close()
