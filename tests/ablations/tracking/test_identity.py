"""Each run has its own id, name and group in W&B, whatever variables the shell exports."""

from __future__ import annotations

import json
import os

import pytest

from ablations.config.resolve import resolve
from ablations.errors import ConfigError, TrackerError
from ablations.machine import env_vars
from ablations.scheduling.worker_env import NO_WANDB_IDENTITY, wandb_variables
from ablations.tracking import client
from tests.factories.processes import run

pytestmark = pytest.mark.usefixtures("no_account")
EXPORTED = {
    "WANDB_MODE": "offline",
    "WANDB_RUN_ID": "batchjob",
    "WANDB_RUN_GROUP": "everybody",
    "WANDB_NAME": "my job",
    "WANDB_RESUME": "must",
    "WANDB_FORK_FROM": "other?_step=3",
    "WANDB_JOB_TYPE": "batch",
    "WANDB_TAGS": "mine, yours",
    "WANDB_NOTES": "of the user",
    "WANDB_SERVICE": "3-1-tcp-localhost-1-1",
    "WANDB_CONFIG_PATHS": "/nosuch/config.yaml",
    "WANDB__FILES_DIR": "/nosuch",
    "TRAINING_JOB_NAME": "of SageMaker",
}
TWO_RUNS = """
import json, sys
from ablations.config.resolve import resolve
from ablations.tracking.mirror import WandbTracker
for seed in (0, 1):
    tracker = WandbTracker(resolve("mini", {"seed": seed}), sys.argv[1], {})
    seen = tracker.run.settings
    names = ("run_id", "run_name", "run_group", "run_job_type", "resume", "run_tags", "run_notes")
    print(json.dumps({**{name: getattr(seen, name) for name in names}, "sweep": seen.sweep_id}))
    tracker._finish_run(0)
"""


@pytest.mark.parametrize("sweep", [{}, {"WANDB_SWEEP_ID": ""}, {"WANDB_RUN_ID": ""}])
def test_two_runs_of_one_process_have_different_ids_and_names(tmp_path, sweep):
    """In a process of its own: the client reads its variables once."""
    if sweep == {"WANDB_RUN_ID": ""}:
        sweep = {"WANDB_RUN_ID": "", "WANDB_SWEEP_ID": "abandoned"}
    done = run("python", "-c", TWO_RUNS, tmp_path, variables={**EXPORTED, **sweep})
    assert done.returncode == 0, done.stderr
    one, two = map(json.loads, done.stdout.splitlines())
    assert len({one["run_id"], two["run_id"], "batchjob"}) == 3
    assert (one["run_name"], two["run_name"]) == ("Baseline, seed 0", "Baseline, seed 1")
    assert one["run_group"].startswith("mini: baseline")
    assert (one["run_job_type"], one["resume"], one["sweep"]) == ("train", None, None)
    assert one["run_tags"] == ["Baseline", "mini", "mine", "yours"]
    assert one["run_notes"] == "of the user"


def test_the_variables_of_an_agent_are_not_hidden(monkeypatch):
    for name in EXPORTED:
        monkeypatch.setenv(name, EXPORTED[name])
    assert set(client.AGENT_VARIABLES) <= client.hidden_variables().keys()
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    assert client.agent_run_id() == "batchjob"
    assert not client.hidden_variables().keys() & set(client.AGENT_VARIABLES)
    assert "WANDB_RESUME" in client.hidden_variables()


def test_workers_inherit_no_identity_variables(monkeypatch):
    for name in (*EXPORTED, "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_PROJECT"):
        monkeypatch.setenv(name, "given")
    with env_vars.set_environ(NO_WANDB_IDENTITY):
        assert client.agent_run_id() is None
        assert {name for name in os.environ if name.startswith("WANDB")} == {
            *("WANDB_MODE", "WANDB_NOTES", "WANDB_PROJECT")
        }
        assert client.entity_and_project(resolve("mini").system)[1] == "given"
    assert os.environ["WANDB_RUN_ID"] == "given"
    assert wandb_variables(shared=False).keys() == {"WANDB_MODE", "WANDB_NOTES", "WANDB_PROJECT"}


def test_an_exit_that_hangs_is_ended_with_the_exit_code():
    """As where the client waits for its service: a handler registered earlier that never ends."""
    code = (
        "import atexit, sys, time\n"
        "from ablations.tracking import client\n"
        "atexit.register(time.sleep, 600)\n"
        "client.EXIT_SECONDS = 0.1\n"
        "client.limit_exit(143)\n"
        "print('printed')\n"
        "sys.exit(143)\n"
    )
    done = run("python", "-c", code, seconds=60)
    assert (done.returncode, done.stdout, done.stderr) == (143, "printed\n", "")


@pytest.mark.parametrize(
    ("variable", "mode"),
    [("dryrun", "offline"), ("offline", "offline"), ("disabled", "disabled"), ("", "offline")],
)
def test_the_mode_follows_the_variable(monkeypatch, variable, mode):
    monkeypatch.setenv("WANDB_MODE", variable)
    assert client.mode() == mode


@pytest.mark.parametrize("variable", ["shared", "nonsense"])
def test_an_unknown_mode_is_refused(monkeypatch, variable):
    monkeypatch.setenv("WANDB_MODE", variable)
    with pytest.raises(TrackerError, match="none of online, offline, disabled"):
        client.mode()


@pytest.mark.parametrize("value", ["1", "true", "YES", "On"])
def test_values_that_mean_true(monkeypatch, value):
    monkeypatch.setenv("ABLATIONS_NO_REUSE", value)
    assert env_vars.get_bool("ABLATIONS_NO_REUSE")


@pytest.mark.parametrize("value", ["", "0", "false", "no", "OFF"])
def test_values_that_mean_false(monkeypatch, value):
    monkeypatch.setenv("ABLATIONS_NO_REUSE", value)
    assert not env_vars.get_bool("ABLATIONS_NO_REUSE")


def test_another_value_of_a_boolean_variable_is_refused(monkeypatch):
    monkeypatch.setenv("ABLATIONS_NO_REUSE", "perhaps")
    with pytest.raises(ConfigError, match="ABLATIONS_NO_REUSE 'perhaps' must be one of 1, true"):
        env_vars.get_bool("ABLATIONS_NO_REUSE")
