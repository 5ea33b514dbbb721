"""Flags of `ablations run` together with a sweep file, and values that give two runs one id."""

from __future__ import annotations

import pytest
import yaml

from ablations.cli.main import main
from ablations.config.sweep import expand_sweeps
from ablations.errors import ConfigError
from tests.factories.configs import write_sweep

ONE_SEED = "method: grid\nparameters:\n  seed: {values: [0]}\n"


@pytest.mark.parametrize(
    ("parameters", "overrides", "message"),
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
def test_a_flag_that_replaces_what_a_sweep_varies_is_refused(
    tmp_path, parameters, overrides, message
):
    path = write_sweep(tmp_path, {"method": "grid", "parameters": parameters})
    with pytest.raises(ConfigError, match=message):
        expand_sweeps([path], "mini", overrides)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("system.precision", ["32-true", "bf16-mixed"]),
        ("data.root", ["a", "b"]),
        ("system", [{"tracker": "none"}, {"precision": "32-true", "tracker": "none"}]),
    ],
)
def test_different_values_outside_the_id_are_refused(tmp_path, name, values):
    together = write_sweep(tmp_path, {"method": "grid", "parameters": {name: {"values": values}}})
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


def test_a_flag_is_accepted_if_one_run_of_the_study_uses_it(tmp_path):
    for name, values, flags in (
        ("model.token_mixers", ["pool", "identity"], {"model.pool_size": 5}),
        ("model.mlp_ratio", [2], {"model.mlp_ratio": 8}),
    ):
        tree = {"method": "grid", "parameters": {name: {"values": values}}}
        runs = expand_sweeps([write_sweep(tmp_path, tree)], "mini", flags)
        (field,) = (flag.split(".")[1] for flag in flags)
        assert {getattr(run.config.model, field) for run in runs} == set(flags.values())


def test_the_project_of_a_file_applies_unless_a_flag_sets_another(tmp_path):
    path = write_sweep(tmp_path, f"project: own\n{ONE_SEED}")
    (run,) = expand_sweeps([path], "mini")
    assert run.config.system.project == "own"
    (run,) = expand_sweeps([path], "mini", {"system.project": "flag"})
    assert run.config.system.project == "flag"


def test_seeds_and_run_cap_exclude_each_other(tmp_path, capsys):
    path = write_sweep(tmp_path, ONE_SEED + "run_cap: 1\n")
    assert main(["run", str(path), "--seeds", "0-3", "--dry-run"]) == 2
    assert "run_cap 1 counts" in capsys.readouterr().err


def test_a_single_seed_explains_how_to_ask_for_several(tmp_path, capsys):
    path = write_sweep(tmp_path, ONE_SEED)
    words = ["run", str(path), "--dry-run", "--results", str(tmp_path)]
    assert main([*words, "--seeds", "3"]) == 0
    out, err = capsys.readouterr()
    assert err == "seed 3 alone; 3 seeds are --seeds 0-2\n"
    assert "seed 3" in out
    assert main([*words, "--seeds", "0", "--seeds", "1,2"]) == 0
    assert "3 runs" in capsys.readouterr().out
