"""Messages between ranks, beside their collectives."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from ablations.errors import ConfigError
from ablations.training.distributed.ranks import RankInfo

CONNECT_TIMEOUT = timedelta(minutes=10)  # the node of rank 0 may start last
POLL_SECONDS = 0.1  # between two looks for a message


class MessageStore:
    """JSON values by key, in a store that all ranks see."""

    def __init__(self, backend: dist.Store) -> None:
        self.backend = backend

    def clone(self) -> MessageStore:
        """A second connection. Waiting in a connection blocks all others that use it."""
        return MessageStore(self.backend.clone())

    def set(self, key: str, value: Any) -> None:
        """Publish a value."""
        self.backend.set(key, json.dumps(value))

    def get(self, key: str) -> Any:
        """The value of a key, or None if nobody has set it."""
        return json.loads(self.backend.get(key)) if self.backend.check([key]) else None

    def wait(self, key: str, seconds: float | None = None) -> Any:
        """The value of a key as soon as somebody sets it; None after a timeout."""
        start = time.monotonic()
        while (value := self.get(key)) is None:
            if seconds is not None and time.monotonic() - start > seconds:
                return None
            time.sleep(POLL_SECONDS)
        return value


@dataclass(frozen=True)
class RankContext:
    """A process of a run: its rank, and its connection to the other ranks."""

    info: RankInfo
    store: MessageStore


def connect(info: RankInfo) -> RankContext:
    """Connect to the store of a run. Rank 0 hosts it, unless the launcher does.

    Returns:
        The connection, and the info with the port of the store.

    Raises:
        ConfigError: There is no store at that address.
    """
    is_host = info.rank == 0 and not info.external_store
    try:
        store = dist.TCPStore(
            info.address,
            info.port,
            is_master=is_host,
            timeout=CONNECT_TIMEOUT,
            wait_for_workers=False,
        )
    except dist.DistError as error:
        raise ConfigError(
            f"rank {info.rank} of {info.world_size} does not find the other ranks at "
            f"{info.address}:{info.port} (MASTER_ADDR and MASTER_PORT): "
            f"{str(error).splitlines()[0]}"
        ) from error
    messages = MessageStore(dist.PrefixStore(f"ablations {info.attempt}", store))
    return RankContext(replace(info, port=store.port), messages)
