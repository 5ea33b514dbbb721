"""A run's log: what the libraries and the run itself say goes to a file beside its record."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from ablations.console import screen
from ablations.machine import files
from ablations.text.escape import redact_credentials

LEVELS = {
    "ablations": logging.INFO,
    "pytorch_lightning": logging.INFO,
    "lightning_fabric": logging.INFO,
    "lightning": logging.INFO,
    "wandb": logging.WARNING,  # it tells each of its own steps otherwise
    "py.warnings": logging.INFO,
}


class _Appended(logging.FileHandler):
    def _open(self) -> TextIOWrapper:
        # A disk that fills ends no run by its log; what the run itself writes says so.
        return screen.lenient_stream(files.open_append(Path(self.baseFilename)), closefd=True)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact_credentials(super().format(record))


@contextlib.contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Append the log messages of this block to a file, and keep them off the screen.

    Raises:
        OSError: It cannot be written, or is a link to another file.
    """
    handler = _Appended(path)
    handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(message)s"))
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
        handler.close()
