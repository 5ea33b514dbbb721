"""A W&B server in memory, for the unmodified client: sweeps, agents, runs, files, artifacts.

    with WandbServer() as server:
        subprocess.run(["wandb", "sweep", "sweep.yaml"], env=server.env(tmp_path))
        server.sweeps, server.runs, server.artifacts, server.requests

One process, one entity, nothing on disk. It answers the requests of the client, and tests read the
data as plain attributes. Unknown fields are answered with null and collected in ``unknown``,
exceptions of handlers in ``errors``; the fixture ``server`` checks both.

Faults, to be set at any time: ``outage()``, ``fault = "500" | "rubbish" | "401"``, ``delay``,
``heartbeat_limit`` (above 30 s for runs that must not crash: an idle client sends a
heartbeat that often). An entity, project or sweep that was never created is unknown, as in W&B.
Not supported: methods other than grid, early stopping, checking the API key.

The modules, each of which imports only from those before it: ``graphql``, ``state``, ``queries``,
``owners``, ``files``, ``artifacts``, ``runs``, ``sweeps``, ``agents``, ``schema``, ``handler``,
``server``; ``client`` drives the real client.

Facts about the client, seen with wandb 0.31.0:

- Waits are whole seconds: WANDB__GRAPHQL_RETRY_WAIT_MIN_SECONDS=0.1 and ..._RETRY_MAX=0 count as
  not set. The file stream sends every 15 s (WANDB__FILE_STREAM_TRANSMIT_INTERVAL) and at the end.
- Without a server, or with 500s, ``wandb.Api()`` gives up after 20 s, ``wandb.init`` after 100 s
  (WANDB_INIT_TIMEOUT, 90), ``run.finish`` not for minutes (WANDB_FINISH_TIMEOUT: then it returns,
  and the process exits 0). 401 and rubbish fail at once in ``Api`` and ``init``.
- In a running stream 500 is repeated. 401 ends the stream with a warning; a 200 that is not JSON
  counts as arrived, so its rows are lost. In both cases the process exits 0.
- ``wandb agent`` first asks for a run 5 s after its start and then every 5 s; ``exit`` kills its
  running processes. Failed heartbeats are repeated forever without a message, 401 included. All
  ``run`` commands of one answer are started at once (``runs_at_once``).
- A run exists for ``resume`` only if ``wandbConfig`` has the key ``t``, which the first start sets.
- ``maxStep`` is exclusive in ``history`` and inclusive in the specs of ``sampledHistory``.
- A run upserts itself by its name again and again; only the first time of a start has ``host``.
- A program that ends without ``run.finish()`` can hang (seen once, under load):
  ``wandb-core`` writes to a socket that the client has just closed, does not read the request to
  end, and the client waits for it, up to ten minutes.
- Console lines arrive with a time before them; "Find logs at" is on stdout, the rest on stderr.
"""

from tests.wandb_server.server import API_KEY, WandbServer
from tests.wandb_server.state import Agent, Artifact, Run, Sweep
from tests.wandb_server.sweeps import grid

__all__ = ["API_KEY", "Agent", "Artifact", "Run", "Sweep", "WandbServer", "grid"]
