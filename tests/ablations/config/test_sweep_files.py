"""Sweep files: `ablations run` and agents train the same runs; invalid files are refused."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from wandb.sdk.launch.sweeps import utils as wandb_sweeps

from ablations.cli.main import build_parser
from ablations.config.arguments import split_arguments
from ablations.config.resolve import recipe_names, resolve
from ablations.config.sweep import expand_sweeps
from ablations.errors import ConfigError
from tests.factories.configs import sweep_grid, sweep_run_ids, write_sweep
from tests.wandb_server.sweeps import grid

GRID = "method: grid\nparameters:\n"
ONE = GRID + "  seed: {values: [0]}\n"
FILES = sorted(Path("sweeps").glob("*.yaml"))


def agent_run_ids(tree, recipe="mini"):
    """The ids of the runs that agents start, by the server's grid and W&B's client."""
    ids = []
    runs = grid(tree["parameters"])[: tree.get("run_cap")]
    for run in runs:
        sent = {"args": {name: {"value": value} for name, value in run.items()}}
        made = wandb_sweeps.create_sweep_command_args(sent)
        made |= {"env": [], "interpreter": [], "program": []}
        words = []
        for word in tree.get("command") or ["${args}"]:
            words += made[word[2:-1]] if word.startswith("${") else [word]
        own, fields = split_arguments(["train", *[word for word in words if word != "-m"]])
        arguments = build_parser().parse_args(own)
        named = "recipe" in vars(arguments).get("given", {})
        chosen = arguments.recipe if named else recipe
        ids.append(resolve(chosen, fields, arguments.preset).run_id)
    return list(dict.fromkeys(ids))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_agents_train_the_same_runs_of_a_shipped_file(path):
    tree = yaml.safe_load(path.read_text())
    for recipe in recipe_names():
        assert sorted(agent_run_ids(tree, recipe)) == sorted(sweep_run_ids(path, recipe))


AXES = {
    "model.norm": st.sampled_from(["group", "layer", "batch", "none"]),
    "model.residual": st.booleans(),
    "model.layer_scale_init": st.sampled_from([None, 0.001, 1.0, 1]),
    "model.depths": st.sampled_from([[1, 1, 1, 1], [2, 1, 1, 1]]),
    "optim.lr": st.sampled_from([0.1, 0.25, 1, 1.0]),
    "data.batch_size": st.sampled_from([64, 128]),
    "preset": st.sampled_from([None, "s12", "s24", "ppaa"]),
    "recipe": st.sampled_from(["mini", "fashion"]),
    "seed": st.integers(0, 3),
}
PLAIN = {
    name: st.one_of(
        st.fixed_dictionaries({"value": values}),
        st.fixed_dictionaries({"values": st.lists(values, min_size=1, max_size=3)}),
    )
    for name, values in AXES.items()
}
PARAMETERS = st.fixed_dictionaries(
    {"optim.epochs": st.just({"min": 6, "max": 7})},
    optional={
        **PLAIN,
        "model": st.sampled_from(
            [
                {"parameters": {"pool_size": {"values": [3, 5]}, "activation": {"value": "relu"}}},
                {"values": [{"pool_size": 5}, {"pool_size": 7, "activation": "silu"}]},
            ]
        ),
    },
)
FLAGS = st.sampled_from(
    [[], ["--optim.min_lr=0.001"], ["--optim.lr", "0.5"], ["--system.compile"], ["--seed=7"]]
)


@settings(deadline=None, max_examples=60)
@given(PARAMETERS, FLAGS, FLAGS, st.none() | st.integers(1, 5))
def test_agents_train_the_same_runs_of_any_file(tmp_path_factory, parameters, before, after, cap):
    command = ["${env}", "${interpreter}", "-m", "${program}", *before, "${args}", *after]
    tree = {"method": "grid", "program": "ablations.train", "command": command}
    tree |= {"parameters": parameters} | ({"run_cap": cap} if cap else {})
    path = write_sweep(tmp_path_factory.mktemp("sweep"), tree)
    try:
        found = sweep_run_ids(path)
    except ConfigError as error:
        # An agent's runs are refused too: they contradict the parameters of their sweep.
        assert "after ${args}" in str(error)
        return
    assert sorted(found) == sorted(agent_run_ids(tree))


def test_order_and_duplicates_are_those_of_wandb(tmp_path):
    parameters = {
        "seed": {"min": 0, "max": 1},
        "model.pool_size": {"values": [3, 5]},
        "model": {"parameters": {"norm": {"values": ["layer", "layer", "batch"]}}},
    }
    path = write_sweep(tmp_path, {"method": "grid", "parameters": parameters, "run_cap": 5})
    runs = [
        {"model.norm": norm, "model.pool_size": size, "seed": seed}
        for norm in ("layer", "batch")
        for size in (3, 5)
        for seed in (0, 1)
    ]
    assert sweep_grid(path) == runs[:5]


REFUSED = [
    (ONE + "seeds: 3\n", "'seeds' belongs under parameters"),
    (ONE + "model.norm: {value: batch}\n", "'model.norm' belongs under parameters"),
    (ONE + "methd: grid\n", "did you mean 'method'"),
    (ONE + "early_terminate: {type: hyperband}\n", "early_terminate is not supported"),
    (ONE + "job: x\n", "job is not supported"),
    (ONE + "run_cap: 0\n", "run_cap 0 must be"),
    (ONE + "run_cap: two\n", "run_cap 'two' must be"),
    (ONE + "run_cap: true\n", "run_cap True must be"),
    (ONE + "metric: {name: val/top11, goal: maximize}\n", "did you mean 'val/top1'"),
    (ONE + "metric: {name: val/top1, gaol: maximize}\n", "did you mean 'goal'"),
    (ONE + "metric: {name: val/top1, goal: max}\n", "valid are minimize, maximize"),
    (ONE + "metric: {name: val/top1, target: 90}\n", "metric.target"),
    (ONE + "metric: val/top1\n", "metric must be"),
    (ONE + "program: train.py\n", "trains by ablations.train"),
    (ONE + "name: 5\n", "name 5 must be text"),
    (ONE + "method: grid\n", "'method' is given twice, first in line 1"),
    (GRID + "  seed: {value: 1}\n  seed: {value: 2}\n", "'seed' is given twice"),
    (GRID + "  seed: {value: 1, value: 2}\n", "'value' is given twice"),
    (
        GRID + "  model.norm: {value: batch}\n  model: {parameters: {norm: {value: none}}}\n",
        "model.norm is given twice, nested and dotted",
    ),
    (
        GRID + "  model.norm: {value: batch}\n  model: {value: {norm: layer}}\n",
        "model.norm is given twice, in model and dotted",
    ),
    (GRID + "  model: {value: 3}\n", "is not a mapping"),
    (GRID + "  model: {value: {nrm: batch}}\n", "did you mean 'model.norm'"),
    (GRID + "  modle: {parameters: {norm: {value: batch}}}\n", "did you mean 'model'"),
    (GRID + "  seed: {vales: [0]}\n", "did you mean 'values'"),
    (GRID + "  seed: {values: [0], vales: [1]}\n", "did you mean 'values'"),
    (GRID + "  seed: {values: [0], value: 1}\n", "needs values"),
    (GRID + "  seed: {values: [0], min: 0, max: 3}\n", "needs values"),
    (GRID + "  seed: {values: 3}\n", "needs values"),
    (GRID + "  seed: {min: 0}\n", "needs values"),
    (GRID + "  seed: {min: 0, max: true}\n", "needs values"),
    (GRID + "  seed: {values: [0, 1], probabilities: [0.5, 0.5]}\n", "has probabilities"),
    (GRID + "  seed: {min: 0, max: 4, q: 2, distribution: q_uniform}\n", "list the values"),
    (GRID + "  seed: {min: 0, max: 4, distribution: uniform}\n", "a grid supports constant"),
    (GRID + "  seed: {values: [0], distribution: constant}\n", "distribution constant and values"),
    (GRID + "  optim.lr: {distribution: normal, mu: 0, sigma: 1}\n", "has mu"),
    (GRID + "  tracker: {value: none}\n", "unknown parameter 'tracker'"),
    (GRID + "  recipe: {values: [3]}\n", "recipe 3 is not a name"),
    (GRID + "  seed: {value: 1_0}\n", "YAML reads '1_0' as another number"),
    (GRID + "  seed: {value: 010}\n", "YAML reads '010' as another number"),
    (GRID + "  seed: {value: 1:30}\n", "YAML reads '1:30' as another number"),
    (GRID + f"  seed: {{value: {'9' * 30}}}\n", "is beyond 64 bits"),
    (GRID + f"  seed: {{value: {'9' * 9999}}}\n", "is beyond 64 bits"),
    (GRID + "  seed: {value: 2024-01-01}\n", "as a date"),
    (GRID + "  seed: {value: true}\n", "is not a whole number"),
    (GRID + "  seed: {min: 0, max: 2000000000}\n", "2,000,000,001 runs, more than 100,000"),
    (GRID + "  3: {value: 1}\n", "is read as a number, not as a name"),
    (GRID + "  on: {value: 1}\n", "is read as true or false, not as a name"),
    (GRID + "  ? [a, b]\n  : {value: 1}\n", "cannot be a key"),
    (GRID + "\tseed: {value: 1}\n", "is not YAML"),
    (ONE + "---\n" + ONE, "is not YAML: expected a single document"),
    ("", "must be a mapping"),
    ("# nothing\n", "must be a mapping"),
    ("a: " + "[" * 600 + "]" * 600, "nested more than"),
    ("a: " + "{a: " * 600 + "1" + "}" * 600, "nested more than"),
    ("a: &a [*a]\n", "contains itself"),
    ("a: &a {b: *a}\n", "contains itself"),
    ("a: !!python/object:os.system {}\n", "could not determine a constructor"),
    ("a: !!int ''\n", "is not YAML"),
    ("a: \x00\n", "is not YAML"),
    ("a: *nobody\n", "undefined alias"),
    ("just words", "must be a mapping"),
    ("- a\n- b\n", "must be a mapping"),
    ("a: [", "is not YAML"),
    ("method: grid\n", "parameters is missing"),
    ("method: grid\nparameters: []\n", "parameters is missing"),
    ("method: bayes\nparameters:\n  seed: {values: [0]}\n", "method 'bayes'"),
    (GRID + "  model.pool_sise: {values: [3]}\n", "did you mean 'model.pool_size'"),
    (GRID + "  model.pool_size: [3, 5]\n", "needs values"),
    (GRID + "  model.pool_size: {values: []}\n", "needs values"),
    (GRID + "  optim.lr: {min: 0.1, max: 0.5}\n", "needs values"),
    (GRID + "  model.pool_size: {values: [4]}\n", "must be odd"),
    (GRID + "  model.norm: {values: [bacth]}\n", "did you mean 'batch'"),
    (GRID + "  preset: {values: [ppab]}\n", "unknown preset"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=range(len(REFUSED)))
def test_an_invalid_file_is_refused_in_one_line(tmp_path, text, message):
    path = write_sweep(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        expand_sweeps([path], "mini")
    message = str(caught.value)
    assert message in message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 700


def test_a_file_that_is_huge_with_its_aliases_written_out_is_refused(tmp_path):
    lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    with pytest.raises(ConfigError, match="aliases written out"):
        sweep_grid(write_sweep(tmp_path, "\n".join(lines)))


def test_unusual_but_valid_yaml_is_read(tmp_path):
    text = "\ufeffmethod: grid\r\nrun_cap: ~\r\nparameters:\r\n  seed: &seeds {values: [0, 1]}\r\n"
    assert sweep_grid(write_sweep(tmp_path, text)) == [{"seed": 0}, {"seed": 1}]
    text = GRID + "  seed: {<<: {values: [0]}, values: [1e-3, 2]}\n"
    with pytest.raises(ConfigError, match="seed '1e-3' is not a whole number"):
        expand_sweeps([write_sweep(tmp_path, text)], "mini")
    text = GRID + "  optim.lr: {values: [1e-3, 0.001]}\n"
    assert len(sweep_run_ids(write_sweep(tmp_path, text))) == 1


def test_a_huge_grid_is_refused_without_listing_its_runs(tmp_path):
    names = ["model.pool_size", "model.mlp_ratio", "optim.lr", "seed"]
    text = GRID + "".join(f"  {name}: {{values: {list(range(1, 999))}}}\n" for name in names)
    started = time.process_time()
    with pytest.raises(ConfigError, match="992,023,968,016 runs, more than 100,000"):
        expand_sweeps([write_sweep(tmp_path, text)], "mini")
    assert time.process_time() - started < 20
    huge = write_sweep(tmp_path, GRID + "  seed: {min: 0, max: 2000000000}\n")
    assert len(expand_sweeps([huge], "mini", seeds=[4, 2])) == 2


def test_deeply_nested_files_are_refused(tmp_path):
    for opening, depth in itertools.product(["[", "{a: ", "- ", "? "], [29, 31, 600, 3000]):
        with pytest.raises(ConfigError):
            expand_sweeps([write_sweep(tmp_path, opening * depth)], "mini")


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        expand_sweeps([tmp_path / "none.yaml"], "mini")
