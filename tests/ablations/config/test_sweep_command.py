"""The ``command`` of a sweep file: its flags apply to the runs, other commands are refused."""

from __future__ import annotations

import pytest

from ablations.config.resolve import resolve
from ablations.config.sweep import expand_sweeps
from ablations.errors import ConfigError
from tests.factories.configs import sweep_run_ids, write_sweep

COMMAND = ["${env}", "${interpreter}", "-m", "${program}"]


def with_command(*words, **parameters):
    tree = {"method": "grid", "program": "ablations.train", "command": [*COMMAND, *words]}
    given = parameters or {"seed": {"values": [0, 1]}}
    return tree | {"parameters": given}


@pytest.mark.parametrize(
    ("words", "fields", "preset", "recipe"),
    [
        (["--optim.epochs=9", "${args}"], {"optim.epochs": 9}, None, "mini"),
        (["${args}", "--optim.epochs", "9"], {"optim.epochs": 9}, None, "mini"),
        (["--model.residual", "${args_json}"], {}, None, "mini"),
        (["--preset=s24", "${args_no_equals}"], {}, "s24", "mini"),
        (["--recipe", "cifar10", "${args}"], {}, None, "cifar10"),
        (["--tracker=none", "${args}"], {}, None, "mini"),
        (["--model.norm=${envvar:NORM}", "${args}"], {"model.norm": "batch"}, None, "mini"),
    ],
)
def test_flags_of_the_command_apply_to_the_runs(
    tmp_path, monkeypatch, words, fields, preset, recipe
):
    monkeypatch.setenv("NORM", "batch")
    expected = [resolve(recipe, {**fields, "seed": seed}, preset).run_id for seed in (0, 1)]
    assert sweep_run_ids(write_sweep(tmp_path, with_command(*words))) == expected


def test_parameters_override_flags_before_them_and_overrides_win(tmp_path):
    lr = {"optim.lr": {"values": [0.1, 0.2]}}
    path = write_sweep(
        tmp_path, with_command("--optim.lr=0.5", "--optim.min_lr=0", "${args}", **lr)
    )
    found = [run.config.optim for run in expand_sweeps([path], "mini", {"optim.min_lr": 0.01})]
    assert [(optim.lr, optim.min_lr) for optim in found] == [(0.1, 0.01), (0.2, 0.01)]
    path = write_sweep(tmp_path, with_command("--recipe=cifar10", "${args}"))
    assert {run.config.recipe for run in expand_sweeps([path], "mini", recipe_given=True)} == {
        "mini"
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "must have ${args} once"),
        (["${args}", "${args_json}"], "must have ${args} once"),
        (["${args_append_hydra}"], "command has ${args_append_hydra}: valid are ${args}"),
        (["${arsg}"], "command has ${arsg}"),
        (["--results=there", "${args}"], "command has 'results'"),
        (["--no-reuse", "${args}"], "command has 'no-reuse'"),
        (["--model.nrom=batch", "${args}"], "did you mean 'model.norm'"),
        (["--preset", "${args}"], "command has 'preset'"),
        (["stray", "${args}"], "command has 'stray'"),
        (["${args}", "--seed=7"], "command sets seed after ${args}"),
    ],
)
def test_flags_that_cannot_be_applied_are_refused(tmp_path, words, message):
    with pytest.raises(ConfigError) as caught:
        expand_sweeps([write_sweep(tmp_path, with_command(*words))], "mini")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["srun", "${program}", "${args}"], "command has 'srun'"),
        (["python", "train.py", "${args}"], "command starts no ${program}"),
        (["${program}", ["${args}"]], "each of its items must be text"),
        ("python -m ablations.train", "command must be a list"),
        ([], "command must be a list"),
    ],
)
def test_another_command_is_refused(tmp_path, command, message):
    tree = {"method": "grid", "command": command, "parameters": {"seed": {"value": 1}}}
    with pytest.raises(ConfigError) as caught:
        expand_sweeps([write_sweep(tmp_path, tree)], "mini")
    assert message in str(caught.value)
