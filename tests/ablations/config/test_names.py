"""Names of rows and runs contain run_ids change, are unique, and are the same everywhere."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablations.analysis.build import build_studies
from ablations.cli.main import main
from ablations.config import diff, naming
from ablations.config.resolve import preset_names, resolve
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError
from ablations.scheduling.progress import Progress
from ablations.tracking.mirror import run_options
from tests.factories.records import BASE, IDENTITY, record

PPAA = ["pool", "pool", "attention", "attention"]
# What a random variant may change.
FIELDS = {
    "model.token_mixers": ["identity", "attention", PPAA, ["pool", "pool", "pool", "attention"]],
    "model.pool_size": [5, 7],
    "model.norm": ["layer", "batch", "none"],
    "model.activation": ["relu", "silu"],
    "model.residual": [False],
    "model.channel_mlp": [False],
    "model.depths": [[2, 2, 6, 2], [1, 1, 1, 1]],
    "model.dims": [[24, 48, 96, 192], [8, 16, 16, 16]],
    "model.mlp_ratio": [2.0, 8.0, 4.0000001, 4.0000002],
    "model.layer_scale_init": [None, 1e-6],
    "model.position_embedding": [3, 4],
    "data.batch_size": [32, 64],
    "optim.lr": [0.002, 0.1, 0.10000001],
    "optim.warmup_epochs": [0],
}


def label(preset: str | None = None, **overrides) -> str:
    """The name of a variant against its recipe."""
    plain = {name.replace("__", "."): value for name, value in overrides.items()}
    config = resolve("mini", plain, preset).to_json()
    return naming.variant_name("mini", diff.changes_from_recipe(config), diff.flat_config(config))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "Baseline"),
        ({"model__norm": "batch"}, "Modified LayerNorm -> BatchNorm"),
        ({"model__mlp_ratio": 2.0}, "MLP ratio 4 -> 2"),
        ({"model__norm": "batch", "model__mlp_ratio": 2.0}, "BatchNorm, MLP ratio 2"),
        ({"model__norm": "none", "optim__lr": 0.1}, "No normalization, learning rate 0.1"),
        ({"model__residual": False, "model__pool_size": 5},
         "Pooling size 5, no residual connection"),
        ({"model__token_mixers": PPAA, "model__norm": "batch"},
         "[Pool,Pool,Attention,Attention], BatchNorm"),
        ({"model__depths": [2, 2, 6, 2], "model__norm": "batch"}, "BatchNorm, S24"),
        ({"model__dims": [8, 16, 16, 16]}, "Widths [8,16,16,16]"),
        ({"preset": "ppaa"}, "[Pool,Pool,Attention,Attention]"),
        ({"preset": "m48"}, "S12 -> M48"),
        ({"model__token_mixers": PPAA}, "[Pool,Pool,Attention,Attention] alone"),
        ({"preset": "ppaa", "optim__lr": 0.1}, "[Pool,Pool,Attention,Attention], LayerNorm, "
         "position embedding 3, batch size 32, learning rate 0.1"),
    ],
)  # fmt: skip
def test_a_name_contains_every_change(changed, expected):
    assert label(**changed) == expected


@pytest.mark.parametrize("recipe", ["mini", "imagenet"])
def test_presets_have_different_names(recipe):
    run_ids = {}
    for preset in [None, *preset_names(recipe)]:
        config = resolve(recipe, preset=preset)
        run_ids.setdefault(naming.run_name(config.to_json()), set()).add(config.run_id)
    assert all(len(runs) == 1 for runs in run_ids.values()), run_ids


def record_of(config: RunConfig, top1: float = 80.0):
    """A record of a config, without training it."""
    made = replace(record(0, top1), run_id=config.run_id, config=config.to_json())
    made.cost.clear()
    return made


@st.composite
def grids(draw) -> list[RunConfig]:
    """Runs of random variants of one study, of one seed."""
    fields = {name: st.sampled_from(values) for name, values in FIELDS.items()}
    changed = draw(
        st.lists(st.fixed_dictionaries({}, optional=fields), min_size=2, max_size=8, unique_by=repr)
    )
    presets = draw(st.lists(st.sampled_from(preset_names("mini")), max_size=3, unique=True))
    found = {}
    for values, preset in [*((values, None) for values in changed), *(({}, p) for p in presets)]:
        try:
            config = resolve("mini", values, preset)
        except ConfigError:
            continue  # an invalid model
        found[config.run_id] = config
    return list(found.values())


@settings(max_examples=60, deadline=None)
@given(grids(), st.integers(0, 100))
def test_names_are_unique_in_a_study_with_any_baseline(configs, number):
    if not configs:
        return
    records = [record_of(config) for config in configs]
    chosen = configs[number % len(configs)].run_id
    for baseline in (None, chosen):
        for study in build_studies(records, baseline):
            rows = [row.label for row in study.rows]
            assert len(set(rows)) == len(rows)
    names = {config.run_id: naming.run_name(config.to_json()) for config in configs}
    assert len(set(names.values())) == len(names)


def test_a_run_has_the_same_name_everywhere():
    configs = [
        resolve("mini", {"model.norm": norm, "model.mlp_ratio": ratio})
        for norm in ("layer", "batch")
        for ratio in (2.0, 8.0)
    ]
    expected = [naming.run_name(config.to_json()) for config in configs]
    assert expected[3] == "BatchNorm, MLP ratio 8, seed 0"
    assert [run_options(config)["name"] for config in configs] == expected
    for part in (configs, configs[:1]):
        names = Progress(part, part).names
        assert [names[config.run_id] for config in part] == expected[: len(part)]
    (study,) = build_studies([*BASE, *map(record_of, configs)])
    rows = {row.label for row in study.rows}
    assert {name.removesuffix(", seed 0") for name in expected} <= rows


def test_changed_epochs_come_last_in_a_name():
    config = resolve("mini", {"model.norm": "batch", "optim.epochs": 1, "optim.warmup_epochs": 0})
    expected = "Modified LayerNorm -> BatchNorm, seed 0, 1 epoch, warm-up epochs 0"
    assert naming.run_name(config.to_json()) == expected


def test_tables_of_several_recipes_have_a_recipe_column(tmp_path, capsys):
    for recipe in ("mini", "fashion"):
        record(recipe=recipe).write(tmp_path / "runs")
    file = tmp_path / "recipes.yaml"
    file.write_text("method: grid\nparameters: {recipe: {values: [mini, cifar10]}}\n")
    for command in (["status", "runs"], ["run", str(file), "--dry-run", "--results", "none"]):
        folder = str(tmp_path / command.pop())
        assert main([*command, folder]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split()[:3] == ["run", "recipe", "name"]
        assert len({line.split()[1] for line in lines if "Baseline, seed 0" in line}) == 2


def test_rows_are_named_against_the_chosen_baseline():
    norm = [record(seed, 70.0, model__norm="batch") for seed in range(3)]
    (study,) = build_studies([*BASE, *IDENTITY, *norm], IDENTITY[0].run_id)
    assert {row.label: row.axis for row in study.rows} == {
        "Baseline": "Baseline",
        "Identity mapping -> Pooling": "Token mixers",
        "Pooling, BatchNorm": "Token mixers + Normalization",
    }


def test_a_baseline_may_be_named_by_its_row():
    found = [*BASE, *IDENTITY]
    names = ["Pooling -> Identity mapping", "identity", " pooling → identity  MAPPING "]
    names += ["Pooling -> Identity mapping, seed 0", "token_mixers=identity", "token mixers"]
    for word in (*names, IDENTITY[1].run_id):
        (study,) = build_studies(found, word)
        assert study.baseline.records == IDENTITY
    for wrong in ("nosuch", "f" * 12, ""):
        with pytest.raises(ConfigError, match="--baseline"):
            build_studies(found, wrong)
    norms = [record(0, model__norm=norm) for norm in ("batch", "layer")]
    with pytest.raises(ConfigError, match="fits several rows: Modified LayerNorm"):
        build_studies([*BASE, *norms], "norm")


def test_the_sections_of_a_grid_are_the_fields_that_it_varies():
    axes = {"model__pool_size": (3, 5), "model__norm": ("group", "batch"), "optim__lr": (8e-3, 0.1)}
    grid = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    (study,) = build_studies([record(**each) for each in grid])
    assert {row.label: row.axis for row in study.rows} == {
        "Baseline": "Baseline",
        "Pooling size 3 -> 5": "Token mixers",
        "Modified LayerNorm -> BatchNorm": "Normalization",
        "Learning rate 0.008 -> 0.1": "Learning rate",
        "BatchNorm, learning rate 0.1": "Normalization + Learning rate",
        "Pooling size 5, BatchNorm": "Token mixers + Normalization",
        "Pooling size 5, learning rate 0.1": "Token mixers + Learning rate",
        "Pooling size 5, BatchNorm, learning rate 0.1": "Several changes",
    }


def test_only_rows_that_the_paper_trained_show_its_numbers():
    narrow = {"model__mlp_ratio": 2.0}
    rows = [
        *BASE,
        record(model__norm="batch", **narrow),
        record(**narrow),
        record(model__norm="batch"),
    ]
    (study,) = build_studies(rows)
    assert {row.label: row.paper.top1 if row.paper else None for row in study.rows} == {
        "Baseline": 77.2,
        "Modified LayerNorm -> BatchNorm": 76.4,
        "MLP ratio 4 -> 2": None,
        "BatchNorm, MLP ratio 2": None,
    }
    (study,) = build_studies(rows, "MLP ratio 4 -> 2")
    assert [row.paper for row in study.rows] == [None] * 4  # the paper has no such baseline
    (study,) = build_studies([*BASE, *IDENTITY, record(optim__lr=0.1)], "lr=0.1")
    assert [row.paper for row in study.rows] == [None] * 3  # nor a baseline with that learning rate
    batch = {"data__batch_size": 64}
    (study,) = build_studies([record(**batch), record(model__norm="batch", **batch)])
    assert [row.paper.top1 for row in study.rows] == [
        77.2,
        76.4,
    ]  # a change of the whole study does not count
    tiny = {"model__depths": [1, 1, 1, 1]}
    (study,) = build_studies([record(**tiny), record(model__norm="batch", **tiny)])
    assert [(row.label, row.paper) for row in study.rows] == [
        ("Baseline", None),
        ("Modified LayerNorm -> BatchNorm", None),
    ]


def test_rows_without_a_baseline_are_named_against_what_they_share():
    found = [record(0, model__mlp_ratio=r, model__norm="batch") for r in (2.0, 8.0)]
    (study,) = build_studies(found)
    assert study.baseline is None
    assert [row.label for row in study.rows] == ["MLP ratio 4 -> 2", "MLP ratio 4 -> 8"]
    assert naming.describe_values(study.shared_changes) == "BatchNorm"
