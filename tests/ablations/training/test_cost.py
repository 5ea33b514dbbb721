"""Parameters and MACs of the paper's rows against the published values."""

from __future__ import annotations

import csv

import pytest
import torch

from ablations.config.resolve import resolve
from ablations.paper import matching, published
from ablations.training.cost import at_paper_size, macs, model_cost
from poolformer import SIZES, MetaFormer
from tests.factories.configs import TABLE_SWEEPS, sweep_grid


def table_rows() -> list[tuple[dict, str | None]]:
    found = []
    for path in TABLE_SWEEPS:
        for fields in sweep_grid(path):
            preset, seed = fields.pop("preset", None), fields.pop("seed")
            if seed == 0 and (fields, preset) not in found:
                found.append((fields, preset))
    return found


def recomputed(variant: str) -> dict[str, str]:
    with (published.PAPER_DIR / "ablation.csv").open(newline="") as file:
        return next(line for line in csv.DictReader(file) if line["variant"] == variant)


@pytest.mark.parametrize(("fields", "preset"), table_rows(), ids=str)
def test_each_row_at_the_papers_size_has_the_papers_cost(fields, preset):
    from ablations.config import diff

    run = resolve("mini", fields, preset)
    base = diff.flat_config(resolve("mini").to_json())
    paper = matching.find_paper_row(diff.changed_fields(base, diff.flat_config(run.to_json())))
    assert paper is not None
    config = at_paper_size(run)
    assert config == at_paper_size(resolve("cifar10", fields, preset))
    cost = model_cost(config)
    assert round(cost["params"] / 1e6, 1) == paper.params_m
    assert round(cost["macs"] / 1e9, 1) == paper.macs_g
    # The plain arithmetic of SOURCES.md (CALC), to its last printed digit.
    arithmetic = recomputed(paper.variant)
    assert cost["params"] / 1e6 == pytest.approx(float(arithmetic["params_m_recomputed"]), abs=6e-4)
    assert cost["macs"] / 1e9 == pytest.approx(
        float(arithmetic["macs_g_fvcore_recomputed"]), rel=0.005
    )
    if "random" in str(config.token_mixers):
        assert round(cost["frozen_params"] / 1e6) == 21


@pytest.mark.parametrize("size", SIZES)
def test_sizes_have_the_published_macs(size):
    config = at_paper_size(resolve("mini", preset=size))
    assert config is not None
    assert (config.depths, config.dims) == (SIZES[size].depths, SIZES[size].dims)
    with torch.device("meta"):
        params = sum(p.numel() for p in MetaFormer(config).parameters())
    paper = published.model_rows()[size]
    assert abs(params / 1e6 - paper.params_m) <= 0.1  # SOURCES.md: Table 1 is 0.1 below for three
    if size == "s24":  # one of the larger ones: they take seconds each
        assert round(model_cost(config)["macs"] / 1e9, 1) == paper.macs_g


@pytest.mark.parametrize(
    ("overrides", "params"),
    [
        # LayerScale's two factors a channel in 2, 2, 6 and 2 blocks.
        ({"model.layer_scale_init": None}, 11_915_176 - 2 * (2 * 64 + 2 * 128 + 6 * 320 + 2 * 512)),
        ({"model.position_embedding": 3}, 11_915_176 + 320 * 14 * 14),
    ],
)
def test_fields_of_a_variant_are_kept_at_the_papers_size(overrides, params):
    config = at_paper_size(resolve("mini", overrides))
    assert config is not None
    assert model_cost(config)["params"] == params


def test_another_stem_or_shape_has_no_counterpart_in_the_paper():
    assert at_paper_size(resolve("mini", {"model.stem_kernel": 3})) is None
    assert at_paper_size(resolve("mini", {"model.depths": [1, 1, 1, 1]})) is None


def test_fused_attention_is_counted_like_its_products():
    config = resolve("mini", preset="ppaa").model
    model = MetaFormer(config)
    fused = macs(model, config.image_size, config.in_channels)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    assert macs(model, config.image_size, config.in_channels) == fused


def test_counting_does_not_change_the_model():
    config = resolve("mini").model
    model = MetaFormer(config).train()
    macs(model, config.image_size, config.in_channels)
    assert model.training
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    model_cost(config)
    assert torch.equal(torch.rand(1), expected)
