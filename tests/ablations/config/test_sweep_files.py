"""A sweep file means the same to `ablations run` and to an agent; nothing in it is dropped."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from wandb.sdk.launch.sweeps import utils as wandb_sweeps

from ablations.cli.main import build_parser, main
from ablations.config.arguments import split_arguments
from ablations.config.resolve import recipe_names, resolve
from ablations.config.sweep import expand_sweeps
from ablations.errors import ConfigError
from tests.factories.configs import sweep_grid
from tests.wandb_server.sweeps import grid

GRID = "method: grid\nparameters:\n"
ONE = GRID + "  seed: {values: [0]}\n"
FILES = sorted(Path("sweeps").glob("*.yaml"))


def by_agent(tree, recipe="mini"):
    """The ids of the runs that agents start, by the server's grid and the client's functions."""
    ids = []
    cells = grid(tree["parameters"])[: tree.get("run_cap")]
    for cell in cells:
        sent = {"args": {name: {"value": value} for name, value in cell.items()}}
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


def by_run(path, recipe="mini", **options):
    return [cell.config.run_id for cell in expand_sweeps([path], recipe, **options)]


def write(tmp_path, tree):
    path = tmp_path / "sweep.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_agents_and_runners_train_the_same_runs_of_a_shipped_file(path):
    tree = yaml.safe_load(path.read_text())
    for recipe in recipe_names():
        assert sorted(by_agent(tree, recipe)) == sorted(by_run(path, recipe))


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
def test_agents_and_runners_train_the_same_runs_of_any_file(
    tmp_path_factory, parameters, before, after, cap
):
    command = ["${env}", "${interpreter}", "-m", "${program}", *before, "${args}", *after]
    tree = {"method": "grid", "program": "ablations.train", "command": command}
    tree |= {"parameters": parameters} | ({"run_cap": cap} if cap else {})
    path = write(tmp_path_factory.mktemp("sweep"), tree)
    try:
        ours = by_run(path)
    except ConfigError as error:
        # An agent's runs are refused too, by what its sweep gave them.
        assert "after ${args}" in str(error)
        return
    assert sorted(ours) == sorted(by_agent(tree))


def test_the_order_is_wandbs_at_each_level(tmp_path):
    parameters = {
        "model.pool_size": {"values": [3, 5]},
        "model": {"parameters": {"norm": {"values": ["batch", "layer"]}}},
    }
    path = write(tmp_path, {"method": "grid", "parameters": parameters, "run_cap": 3})
    assert sweep_grid(path) == [
        {"model.norm": "batch", "model.pool_size": 3},
        {"model.norm": "batch", "model.pool_size": 5},
        {"model.norm": "layer", "model.pool_size": 3},
    ]


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
]


@pytest.mark.parametrize(("text", "told"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_understood_is_refused_in_one_line(tmp_path, text, told):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        expand_sweeps([path], "mini")
    message = str(caught.value)
    assert told in message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 700


def test_a_file_that_grows_when_its_aliases_are_written_out_is_refused(tmp_path):
    lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    with pytest.raises(ConfigError, match="aliases written out"):
        sweep_grid(write(tmp_path, "\n".join(lines)))


def test_what_people_write_is_read(tmp_path):
    text = (
        "\ufeffmethod: grid\r\nrun_cap: ~\r\nx: &no 1\r\n"
        "parameters:\r\n  seed: &seeds {values: [0, 1]}\r\n"
    ).replace("x: &no 1\r\n", "")
    assert sweep_grid(write(tmp_path, text)) == [{"seed": 0}, {"seed": 1}]
    text = GRID + "  seed: {<<: {values: [0]}, values: [1e-3, 2]}\n"
    with pytest.raises(ConfigError, match="seed '1e-3' is not a whole number"):
        expand_sweeps([write(tmp_path, text)], "mini")
    text = GRID + "  optim.lr: {values: [1e-3, 0.001]}\n"
    assert len(by_run(write(tmp_path, text))) == 1


def test_a_product_of_lists_is_counted_and_never_made(tmp_path):
    names = ["model.pool_size", "model.mlp_ratio", "optim.lr", "seed"]
    text = GRID + "".join(f"  {name}: {{values: {list(range(1, 999))}}}\n" for name in names)
    begun = time.process_time()
    with pytest.raises(ConfigError, match="992,023,968,016 runs, more than 100,000"):
        expand_sweeps([write(tmp_path, text)], "mini")
    assert time.process_time() - begun < 20
    huge = write(tmp_path, GRID + "  seed: {min: 0, max: 2000000000}\n")
    assert len(expand_sweeps([huge], "mini", seeds=[4, 2])) == 2


# The flags of `command`

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
def test_flags_of_the_command_are_the_runs_too(
    tmp_path, monkeypatch, words, fields, preset, recipe
):
    monkeypatch.setenv("NORM", "batch")
    expected = [resolve(recipe, {**fields, "seed": seed}, preset).run_id for seed in (0, 1)]
    assert by_run(write(tmp_path, with_command(*words))) == expected


def test_precedence_is_a_command_lines(tmp_path):
    lr = {"optim.lr": {"values": [0.1, 0.2]}}
    path = write(tmp_path, with_command("--optim.lr=0.5", "--optim.min_lr=0", "${args}", **lr))
    found = [cell.config.optim for cell in expand_sweeps([path], "mini", {"optim.min_lr": 0.01})]
    assert [(optim.lr, optim.min_lr) for optim in found] == [(0.1, 0.01), (0.2, 0.01)]
    path = write(tmp_path, with_command("--recipe=cifar10", "${args}"))
    assert {cell.config.recipe for cell in expand_sweeps([path], "mini", recipe_given=True)} == {
        "mini"
    }


@pytest.mark.parametrize(
    ("words", "told"),
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
def test_a_command_that_cannot_be_followed_is_refused(tmp_path, words, told):
    with pytest.raises(ConfigError) as caught:
        expand_sweeps([write(tmp_path, with_command(*words))], "mini")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["srun", "${program}", "${args}"], "command has 'srun'"),
        (["python", "train.py", "${args}"], "command starts no ${program}"),
        (["${program}", ["${args}"]], "each of its items must be text"),
        ("python -m ablations.train", "command must be a list"),
        ([], "command must be a list"),
    ],
)
def test_another_command_is_refused(tmp_path, command, told):
    tree = {"method": "grid", "command": command, "parameters": {"seed": {"value": 1}}}
    with pytest.raises(ConfigError) as caught:
        expand_sweeps([write(tmp_path, tree)], "mini")
    assert told in str(caught.value)


# Flags of `ablations run` over what a file varies


@pytest.mark.parametrize(
    ("parameters", "overrides", "told"),
    [
        (
            {"model.mlp_ratio": {"values": [2, 4]}},
            {"model.mlp_ratio": "8"},
            "2 values of model.mlp",
        ),
        ({"seed": {"values": [0, 1]}}, {"seed": "1"}, "--seed 1 .* use --seeds"),
        (
            {"model": {"values": [{"norm": "batch"}, {"norm": "none"}]}},
            {"model.norm": "layer"},
            "2",
        ),
        (
            {"preset": {"values": ["s12", "no_residual"]}},
            {"model.residual": True},
            "two of its runs equal",
        ),
        (
            {"model.norm": {"values": ["group", "batch"]}},
            {"model.head_dim": 8},
            "would change noth",
        ),
        (
            {"model.pool_size": {"values": [3, 5]}, "model.token_mixers": {"value": "identity"}},
            {},
            "model.pool_size 5 would change nothing",
        ),
    ],
)
def test_a_flag_does_not_silently_undo_a_sweep(tmp_path, parameters, overrides, told):
    path = write(tmp_path, {"method": "grid", "parameters": parameters})
    with pytest.raises(ConfigError, match=told):
        expand_sweeps([path], "mini", overrides)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("system.precision", ["32-true", "bf16-mixed"]),
        ("data.root", ["a", "b"]),
        ("system", [{"tracker": "none"}, {"precision": "32-true", "tracker": "none"}]),
    ],
)
def test_values_that_tell_no_runs_apart_are_refused(tmp_path, name, values):
    together = write(tmp_path, {"method": "grid", "parameters": {name: {"values": values}}})
    with pytest.raises(ConfigError, match="have the same id"):
        expand_sweeps([together], "mini")
    apart = []
    for number, value in enumerate(values):
        apart.append(tmp_path / f"{number}.yaml")
        tree = {"method": "grid", "parameters": {name: {"value": value}}}
        apart[-1].write_text(yaml.safe_dump(tree))
    assert len(expand_sweeps(apart[:1], "mini")) == 1
    with pytest.raises(ConfigError, match=r"1.yaml: .* have the same id"):
        expand_sweeps(apart, "mini")


def test_a_flag_for_the_whole_study_is_taken_where_one_of_its_runs_reads_it(tmp_path):
    mixers = {"model.token_mixers": {"values": ["pool", "identity"]}}
    path = write(tmp_path, {"method": "grid", "parameters": mixers})
    assert {
        c.config.model.pool_size for c in expand_sweeps([path], "mini", {"model.pool_size": 5})
    } == {5}
    one = write(tmp_path, {"method": "grid", "parameters": {"model.mlp_ratio": {"values": [2]}}})
    assert [
        c.config.model.mlp_ratio for c in expand_sweeps([one], "mini", {"model.mlp_ratio": 8})
    ] == [8]


def test_a_files_project_is_the_runs(tmp_path):
    path = write(tmp_path, f"project: own\n{ONE}")
    (cell,) = expand_sweeps([path], "mini")
    assert cell.config.system.project == "own"
    (cell,) = expand_sweeps([path], "mini", {"system.project": "flag"})
    assert cell.config.system.project == "flag"


def test_seeds_and_a_cap_exclude_each_other(tmp_path, capsys):
    path = write(tmp_path, ONE + "run_cap: 1\n")
    assert main(["run", str(path), "--seeds", "0-3", "--dry-run"]) == 2
    assert "run_cap 1 counts" in capsys.readouterr().err


def test_one_seed_that_may_have_been_meant_as_a_number_of_seeds_is_said(tmp_path, capsys):
    path = write(tmp_path, ONE)
    words = ["run", str(path), "--dry-run", "--results", str(tmp_path)]
    assert main([*words, "--seeds", "3"]) == 0
    out, err = capsys.readouterr()
    assert err == "seed 3 alone; 3 seeds are --seeds 0-2\n"
    assert "seed 3" in out
    assert main([*words, "--seeds", "0", "--seeds", "1,2"]) == 0
    assert "3 runs" in capsys.readouterr().out


def test_deep_or_odd_files_never_end_in_a_traceback(tmp_path):
    for opening, depth in itertools.product(["[", "{a: ", "- ", "? "], [29, 31, 600, 3000]):
        with pytest.raises(ConfigError):
            expand_sweeps([write(tmp_path, opening * depth)], "mini")
