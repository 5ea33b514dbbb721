"""Command lines of agents and people: how they are parsed, and the errors of invalid ones."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from wandb.sdk.launch.sweeps import utils as wandb_sweeps

from ablations.cli.main import build_parser, main
from ablations.config.arguments import split_arguments
from ablations.config.resolve import resolve
from ablations.errors import ConfigError
from ablations.text import parsing
from ablations.tracking import agent

VALUES = {
    "model.norm": st.sampled_from(["group", "layer", "batch", "none"]),
    "model.residual": st.just(True),
    "model.layer_scale_init": st.none() | st.floats(1e-6, 1),
    "model.token_mixers": st.lists(
        st.sampled_from(["pool", "identity", "random"]), min_size=4, max_size=4
    ),
    "optim.lr": st.floats(1e-6, 1),
    "optim.epochs": st.integers(6, 500),
    "seed": st.integers(0, 2**31 - 1),
    "preset": st.sampled_from(["s12", "s24", "ppaa"]),
    "recipe": st.sampled_from(["mini", "cifar10"]),
    "_wandb": st.just({}),
}
MACROS = ["args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags", "args_json"]


def config_of(words):
    """The config of the run that `ablations train WORDS` would train."""
    own, fields = split_arguments(["train", *words])
    arguments = build_parser().parse_args(own)
    return resolve(arguments.recipe, fields, arguments.preset)


@settings(deadline=None, max_examples=50)
@given(st.fixed_dictionaries({}, optional=VALUES), st.sampled_from(MACROS))
def test_every_command_macro_starts_the_run_of_the_sweep(parameters, macro):
    """W&B's client writes the arguments."""
    sent = {"args": {name: {"value": value} for name, value in parameters.items()}}
    words = wandb_sweeps.create_sweep_command_args(sent)[macro]
    fields = {name: value for name, value in parameters.items() if name != "_wandb"}
    recipe, preset = fields.pop("recipe", "mini"), fields.pop("preset", None)
    assert config_of(words) == resolve(recipe, fields, preset)


def test_parameters_can_come_from_a_json_file(tmp_path):
    path = tmp_path / "args.json"
    path.write_text(json.dumps({"model.norm": "batch", "model.residual": False, "preset": "s24"}))
    expected = resolve("mini", {"model.norm": "batch", "model.residual": False}, "s24")
    assert config_of([str(path)]) == expected


def test_a_boolean_flag_without_a_value_is_true():
    assert split_arguments(["train", "--model.residual", "--seed", "3"])[1] == {
        "model.residual": "true",
        "seed": "3",
    }
    assert split_arguments(["train", "--model.residual", "False"])[1] == {"model.residual": "False"}
    own, fields = split_arguments(["run", "--system.compile", "a.yaml"])
    assert (own, fields) == (["run", "a.yaml"], {"system.compile": "true"})
    with pytest.raises(ConfigError, match="--seed needs a value"):
        split_arguments(["train", "--seed"])
    with pytest.raises(ConfigError, match="--system.project=VALUE"):
        split_arguments(["train", "--system.project", "--x"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["+model.norm=batch"], "Hydra"),
        (["++seed=1"], "Hydra"),
        (["model.pool_sise=3"], "did you mean 'model.pool_size'"),
        (['{"model.norm": "batch", "model.norm": "layer"}'], "given twice"),
        (['{"model.norm": '], "is not JSON"),
        (["[" * 100_000 + ".json"], "cannot be read"),
        (["{" + '"a":{' * 100_000], "is not JSON"),
        (["none.json"], "none.json cannot be read"),
        (["--model=-----1"], "is not a mapping"),
        (["--model=" + "1+" * 20_000 + "1"], "is not a mapping"),
        (["--model=" + "[" * 5_000], "is not a mapping"),
        (["--model={[]: 1}"], "is not a mapping"),
        (["--model.depths=" + "[" * 5_000], "is not a list of whole numbers"),
        (["--seed=1_0"], "is not a whole number"),
        (["--seed=٣"], "is not a whole number"),
        (["--seed= 3"], "is not a whole number"),
        (["--seed=010"], "is not a whole number"),
        (["--seed=1:30"], "is not a whole number"),
        (["--seed="], "seed '' is not a whole number"),
        (["--seed=true"], "is not a whole number"),
        (["--seed=" + "9" * 30], "is beyond 64 bits"),
        (["--seed=" + "9" * 9_999], "is beyond 64 bits"),
        (["--optim.lr=1_0.5"], "is not a number"),
        (["--optim.lr=nan"], "optim.lr nan must be positive"),
        (["--optim.min_lr", "-1"], "optim.min_lr -1.0 must be 0 or more"),
        (["--model.depths=[1,1_0,1,1]"], "is not a list of whole numbers"),
        (["--data.root="], "data.root is an empty name"),
        (["--optim.betas=[0.9]"], "is not a list of 2 numbers"),
        (["--system.threads=99999999999"], "must be between 1 and 4096"),
        (["--system.loader_workers=99999"], "must be between 0 and 4096"),
        (["-recipe", "mini"], "did you mean '--recipe'"),
        (["--tracker=none", "--system.tracker=bogus"], "are both given"),
        (["--recipe=mini", "--recipe=cifar10"], "--recipe is given twice"),
    ],
)
def test_invalid_arguments_give_exit_code_2_and_one_line(words, message, capsys, tmp_path):
    assert main(["train", "--results", str(tmp_path), *words]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
    assert len(err) < 600


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "mini", "run", "a.yaml"], "--recipe comes after a command"),
        (["run", "a.yaml", "optim.epochs=1"], "did you mean --optim.epochs=1?"),
        (["plan", "a.yaml", "--std", "nan"], "a.yaml cannot be read"),
        (["run", "a.yaml", "--seeds"], "expected one argument"),
        (["run", "a.yaml", "--seeds", "-1"], "--seeds '-1' must be numbers"),
        (["train", "--seeds", "0,1"], "did you mean '--seed'"),
        (["train", "--no-model.residual"], "write --model.residual=false"),
        (["train", "--system.precision", "BF16-Mixed"], "did you mean 'bf16-mixed'"),
        (["train", '--model={"norm": "batch", "norm": "layer"}'], "has a field twice"),
    ],
)
def test_likely_mistakes_get_a_hint(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["pool,pool,attention,attention", "('pool','pool','attention','attention')",
     "(pool, pool, attention, attention)", "[pool,pool,attention,attention]"],
)  # fmt: skip
def test_lists_can_be_written_in_several_ways(text):
    _, fields = split_arguments(["train", "--model.token_mixers", text, "--model.depths=1,1,(1,1)"])
    with pytest.raises(ConfigError, match="is not a list of whole numbers"):
        resolve("mini", fields)
    config = resolve("mini", {**fields, "model.depths": "1,1,1,1"})
    assert config.model.token_mixers == ("pool", "pool", "attention", "attention")
    assert config.model.depths == (1, 1, 1, 1)


def test_a_group_may_be_json_or_a_python_dict():
    for text in ('{"residual": false, "norm": "batch"}', "{'residual': False, 'norm': 'batch'}"):
        _, fields = split_arguments(["train", f"--model={text}"])
        assert fields == {"model.residual": False, "model.norm": "batch"}


def test_all_spellings_of_zero_have_one_run_id():
    runs = {resolve("mini", {"optim.eps": eps}).run_id for eps in (0.0, -0.0, 0, "0", "-0.0")}
    assert len(runs) == 1


@given(st.text(max_size=12))
def test_integers_are_written_in_plain_decimal_digits(text):
    try:
        found = parsing.parse_int(text)
    except ValueError:
        return
    assert text.isascii()
    assert str(found) in (text, text.lstrip("+"), text.replace("-0", "0"))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["0,1,2"], [0, 1, 2]),
        (["0-4"], [0, 1, 2, 3, 4]),
        (["0..2"], [0, 1, 2]),
        (["0 - 2, 7"], [0, 1, 2, 7]),
        (["0", "1,2"], [0, 1, 2]),
        (["0 1 2"], [0, 1, 2]),
        (["3"], [3]),
        (["2,2"], [2]),
    ],
)
def test_seeds_can_be_written_in_several_ways(texts, expected):
    assert parsing.parse_seeds(texts) == expected


@pytest.mark.parametrize("text", ["", ",", "a", "1_0", "٣", "4-0", "-1", "0-", "1.5", "0x1", "--1"])
def test_invalid_seeds_are_refused(text):
    with pytest.raises(ConfigError, match="must be numbers, such as 0,1,2, or a range"):
        parsing.parse_seeds([text])


def test_a_huge_range_of_seeds_is_refused_without_listing_it():
    with pytest.raises(ConfigError, match=r"2,000,000,001 seeds: at most 100,000"):
        parsing.parse_seeds(["0-2000000000"])


def test_all_numbers_after_the_seeds_flag_belong_to_it():
    assert split_arguments(["run", "--seeds", "0", "1", "2", "a.yaml"])[0] == [
        "run",
        "--seeds=0 1 2",
        "a.yaml",
    ]


# The parameters of an agent's sweep, which the client writes to a file


@pytest.fixture
def set_sweep_parameters(tmp_path, monkeypatch):
    def write(**parameters):
        path = tmp_path / "params.yaml"
        tree = {"wandb_version": 1} | {name: {"value": v} for name, v in parameters.items()}
        path.write_text(yaml.safe_dump(tree))
        monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
        monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(path))

    return write


@pytest.mark.parametrize(
    ("fields", "preset", "parameters", "message"),
    [
        ({}, None, {"model.residual": False}, "model.residual is True .* False in the sweep"),
        ({"optim.epochs": 9}, None, {"optim.epochs": 2}, "optim.epochs is 9 .* 2 in the sweep"),
        ({}, None, {"preset": "s24"}, "preset is None .* 's24' in the sweep"),
        ({}, "s24", {"recipe": "cifar10"}, "recipe is 'mini' .* 'cifar10' in the sweep"),
        ({}, None, {"model": {"norm": "batch"}}, "model.norm is 'group' .* 'batch' in the sweep"),
        ({}, None, {"optim.lr_base": 0.5}, "optim.lr is 0.008 .* 0.0625 in the sweep"),
        ({}, None, {"plugins": "mine"}, "unknown parameter of the sweep 'plugins'"),
    ],
)
def test_a_run_that_contradicts_its_sweep_is_refused(
    set_sweep_parameters, fields, preset, parameters, message
):
    set_sweep_parameters(**parameters)
    with pytest.raises(ConfigError, match=message) as caught:
        agent.check_sweep_parameters(resolve("mini", fields, preset), fields, preset)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=50)
@given(st.fixed_dictionaries({}, optional=VALUES))
def test_a_run_that_matches_its_sweep_is_accepted(parameters):
    fields = {name: value for name, value in parameters.items() if name != "_wandb"}
    recipe, preset = fields.pop("recipe", "mini"), fields.pop("preset", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            agent, "sweep_parameters", lambda: {**parameters, "preset": preset, "recipe": recipe}
        )
        text = {name: str(value) for name, value in fields.items()}
        agent.check_sweep_parameters(resolve(recipe, text, preset), text, preset)


def test_a_false_parameter_that_the_agent_dropped_is_detected(
    set_sweep_parameters, capsys, monkeypatch
):
    set_sweep_parameters(**{"model.residual": False, "seed": 1})
    monkeypatch.setattr("ablations.cli.main._end_agent_run", lambda *words: None)
    assert main(["train", "--seed=1"]) == 2
    assert "model.residual is True on this command line and False in the sweep" in (
        capsys.readouterr().err
    )
