"""Agents: the commands that ``wandb agent`` gets at each heartbeat."""

from __future__ import annotations

import json

from tests.wandb_server.graphql import Json, RefusedError
from tests.wandb_server.runs import new_run
from tests.wandb_server.state import Agent, Run, Store, Sweep
from tests.wandb_server.sweeps import find_sweep, runs_of


def create_agent(store: Store, given: Json) -> Json:
    """Register an agent."""
    sweep = find_sweep(store, given["sweep"])
    agent = Agent(f"agent-{len(store.agents) + 1}", sweep.id)
    store.agents[agent.id] = agent
    return {"agent": {"id": agent.id}}


def agent_heartbeat(store: Store, given: Json) -> Json:
    """The next commands of an agent; an idle one gets a run or ``exit``."""
    agent = store.agents.get(given["id"])
    if agent is None:
        raise RefusedError("agent not found", 404)
    alive = {run for run, runs in json.loads(given.get("runState") or "{}").items() if runs}
    for run in (store.runs[name] for name in agent.runs - alive if name in store.runs):
        run.lost |= not run.started
    agent.runs &= alive
    started = [] if agent.runs else next_commands(store, find_sweep(store, agent.sweep))
    agent.runs |= {command["run_id"] for command in started if "run_id" in command}
    return {"agent": {"id": agent.id}, "commands": json.dumps(started)}


MUTATIONS = {"createAgent": create_agent, "agentHeartbeat": agent_heartbeat}


def next_commands(store: Store, sweep: Sweep) -> list[Json]:
    """For an idle agent: preempted runs first, then new runs, then ``exit``."""
    if sweep.state in ("CANCELED", "FINISHED"):
        return [{"type": "exit"}]
    if sweep.state == "PAUSED":
        return []
    sweep.state = "RUNNING"
    runs = runs_of(store, sweep)
    waiting = [run for run in runs if run.state == "preempted"][: store.runs_at_once]
    while len(waiting) < store.runs_at_once and sweep.handed_out < len(sweep.combinations):
        run = new_run(store, sweep.project, sweep.id)
        run.args = sweep.combinations[sweep.handed_out]
        sweep.handed_out += 1
        waiting.append(run)
    if waiting:
        return [start_command(sweep, run) for run in waiting]
    if any(run.state == "preempting" for run in runs):
        return []
    if not any(run.state in ("pending", "running") for run in runs):
        sweep.state = "FINISHED"
    return [{"type": "exit"}]


def start_command(sweep: Sweep, run: Run) -> Json:
    """The agent's command that starts this run, for the first time or again."""
    kind = "resume" if run.starts else "run"
    args = {key: {"value": value} for key, value in run.args.items()}
    if run.starts and run.store.requeued_args_have_wandb_key:
        args["_wandb"] = {"value": run.own_config}
    run.begin(started=False)
    run.starts += 1
    program = sweep.config.get("program")
    return {"type": kind, "run_id": run.id, "program": program, "args": args, "logs": []}
