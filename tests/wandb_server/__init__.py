"""A W&B server in memory, for the unmodified client: sweeps, agents, runs, files, artifacts.

    with WandbServer() as server:
        subprocess.run(["wandb", "sweep", "sweep.yaml"], env=server.env(tmp_path))
        server.sweeps, server.runs, server.artifacts, server.requests

One process, one entity, nothing on disk. It answers what the client asks and what it sends can be
read as plain attributes; a question that it does not know is answered with null and noted in
``unknown``, a handler that fails in ``errors``: the fixture ``server`` looks there.

Faults, to be set at any time: ``outage()``, ``fault = "500" | "rubbish" | "401"``, ``delay``,
``heartbeat_limit`` (above 30 s for runs that are to live: that is how often a quiet client
speaks); an entity, project or sweep that was never made is unknown, as on W&B's. What W&B does and
this does not: other methods than grid, early stopping, checking the API key.

The rooms, each of which imports only from those before it: ``graphql``, ``state``, ``queries``,
``owners``, ``files``, ``artifacts``, ``runs``, ``sweeps``, ``agents``, ``schema``, ``handler``,
``server``; ``client`` drives the real client.

Facts about the client, seen with wandb 0.31.0:

- Waits are whole seconds: WANDB__GRAPHQL_RETRY_WAIT_MIN_SECONDS=0.1 and ..._RETRY_MAX=0 count as
  not set. The file stream sends every 15 s (WANDB__FILE_STREAM_TRANSMIT_INTERVAL) and at the end.
- With nobody there or 500s ``wandb.Api()`` gives up after 20 s, ``wandb.init`` after 100 s
  (WANDB_INIT_TIMEOUT, 90), ``run.finish`` not for minutes (WANDB_FINISH_TIMEOUT: then it returns,
  and the process exits 0). 401 and rubbish fail at once in ``Api`` and ``init``.
- In a running stream 500 is repeated. 401 ends the stream with a warning; a 200 that is not JSON
  counts as arrived, so its rows are lost. In both cases the process exits 0.
- ``wandb agent`` first asks for a cell 5 s after its start and then every 5 s; ``exit`` kills what
  runs. Heartbeats that fail are repeated for ever and say nothing, 401 included. Several ``run``
  commands in one answer are all started at once (``cells_at_once``).
- A run exists for ``resume`` only if ``wandbConfig`` has the key ``t``, which the first start sets.
- ``maxStep`` is exclusive in ``history`` and inclusive in the specs of ``sampledHistory``.
- A run upserts itself by its name again and again; only the first time of a start has ``host``.
- A program that ends without ``run.finish()`` can hang (seen once, under load):
  ``wandb-core`` writes to a socket that the client has just closed, never reads that it is to end,
  and the client waits for it, up to ten minutes.
- Console lines arrive with a time before them; "Find logs at" is on stdout, the rest on stderr.
"""

from tests.wandb_server.server import API_KEY, WandbServer
from tests.wandb_server.state import Agent, Artifact, Run, Sweep
from tests.wandb_server.sweeps import grid

__all__ = ["API_KEY", "Agent", "Artifact", "Run", "Sweep", "WandbServer", "grid"]
