"""Evidence that this is the paper's model.

The five sizes compute what timm's do. `ablations profile` gives every count that the paper prints,
except three that it rounds the wrong way. A user's own mixer gets its row, as in the README.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import timm
import torch

from ablations.cli.main import main
from ablations.config.sweep import expand_sweeps
from ablations.paper import published
from poolformer import MODELS, SIZES, create, load_checkpoint
from tests.factories.configs import TINY_FLAGS
from tests.factories.models import perturbed, write_weights
from tests.factories.processes import run
from tests.factories.readme import write_files

# arXiv 2111.11418, at 1000 classes; timm counts the same.
PARAMETERS = {
    "s12": 11_915_176,
    "s24": 21_388_968,
    "s36": 30_862_760,
    "m36": 56_172_520,
    "m48": 73_473_448,
}


@pytest.mark.parametrize("size", SIZES)
def test_the_model_matches_timm(size, tmp_path):
    """Logits and the four pyramid features within 1e-5, at 224 and at another resolution.

    The weights are timm's with noise on every parameter, norms and LayerScale too, so that a
    swapped or ignored parameter changes the result. They are loaded from a file in timm's layout.
    """
    theirs = perturbed(timm.create_model(f"poolformer_{size}"))
    write_weights(theirs.state_dict(), tmp_path / "timm.safetensors")
    ours = create(f"poolformer_{size}").eval()
    assert load_checkpoint(ours, tmp_path / "timm.safetensors") == []
    counts = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    assert counts == [PARAMETERS[size]] * 2
    generator = torch.Generator().manual_seed(0)
    for side in (224, 160):
        images = torch.randn(1, 3, side, side, generator=generator)
        with torch.no_grad():
            logits, expected = ours(images), theirs(images)
            levels = ours.pyramid(images)
            their_levels = theirs.forward_intermediates(images, intermediates_only=True)
        assert expected.std() > 0.05  # nothing trivial
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
        assert len(levels) == len(their_levels) == 4
        for level, other in zip(levels, their_levels, strict=True):
            assert other.std() > 0.05
            torch.testing.assert_close(level, other, atol=1e-5, rtol=0)


def test_an_ignored_parameter_would_be_detected():
    """The comparison above can fail: resetting any one tensor changes the logits by more.

    There is one exception. Pooling subtracts its input, and so any constant: the bias of the norm
    before it has no effect (except rounding).
    """
    model = perturbed(create("poolformer_s12", depths=(1, 1, 1, 1), image_size=64))
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = create("poolformer_s12", depths=(1, 1, 1, 1), image_size=64).state_dict()
    with torch.no_grad():
        expected = model(image)
        for name, tensor in model.named_parameters():
            kept = tensor.clone()
            tensor.copy_(plain[name])
            change = (model(image) - expected).abs().max()
            assert (change < 1e-5) == name.endswith("token.norm.bias"), name
            tensor.copy_(kept)


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> pd.DataFrame:
    """The counts of `ablations profile sweeps/*.yaml`."""
    target = tmp_path_factory.mktemp("profile") / "profile.csv"
    sweeps = sorted(map(str, Path("sweeps").glob("*.yaml")))
    assert main(["profile", *sweeps, "--recipe=imagenet", "--format=csv", f"-o={target}"]) == 0
    return pd.read_csv(target).set_index("variant")


# SOURCES.md: Table 1 prints these three 0.1 below the rounded count.
CONTRADICTED = ["PoolFormer-S36", "PoolFormer-M36", "PoolFormer-M48"]


@pytest.mark.parametrize(
    "row",
    [*published.model_rows().values(), *list(published.ablation_rows().values())[1:]],
    ids=lambda row: row.variant,
)
def test_every_published_count_is_reproduced(row, profile):
    """Within 0.05 M and 0.05 G of the printed number; the baseline of the table is S12."""
    found = profile.loc[row.variant]
    params, macs = found["params"] / 1e6, found["macs"] / 1e9
    assert (found["paper_params_m"], found["paper_macs_g"]) == (row.params_m, row.macs_g)
    assert abs(macs - row.macs_g) <= 0.05
    assert round(macs, 1) == row.macs_g
    assert found["params_off_m"] == pytest.approx(params - row.params_m)
    assert found["macs_off_g"] == pytest.approx(macs - row.macs_g)
    if row.variant in CONTRADICTED:
        assert 0.05 < params - row.params_m <= 0.1
        assert "Table 1 prints" in found["note"]
    else:
        assert abs(params - row.params_m) <= 0.05
        assert pd.isna(found["note"])
    if row.frozen_params_m:
        assert round(found["frozen_params"] / 1e6) == row.frozen_params_m
    else:
        assert found["frozen_params"] == 0


def test_the_counts_of_the_second_version_are_shown(profile):
    """The second version's MACs; their excess over ours hardly grows with the depth."""
    before = profile["paper_macs_before_g"].dropna()
    assert before.to_dict() == {
        "PoolFormer-S12": 2.0,
        "PoolFormer-S24": 3.6,
        "PoolFormer-S36": 5.2,
        "PoolFormer-M36": 9.1,
        "PoolFormer-M48": 11.9,
        "[Pool,Pool,Attention,Attention]": 2.7,
    }
    excess = before - profile["macs"][before.index] / 1e9
    assert excess["PoolFormer-S36"] - excess["PoolFormer-S12"] < 0.1  # three times the blocks
    counted = pd.read_csv("results/macs_by_counter.csv").set_index("counter")
    ours = counted.loc["fvcore with this project's rules"]
    for size in SIZES:
        macs = profile.loc[f"PoolFormer-{size.upper()}"]["macs"]
        assert ours[f"poolformer_{size}"] == pytest.approx(macs / 1e9, abs=5e-4)


def test_the_named_models_are_the_variants_of_the_sweeps():
    """`poolformer.create` and the sweep files build the same variants at the paper's size.

    The controls are no named models.
    """
    files = [path for path in sorted(Path("sweeps").glob("*.yaml")) if path.stem != "controls"]
    runs = expand_sweeps(files, "imagenet", seeds=[0])
    models = {replace(run.config.model, drop_path=0.0) for run in runs}
    assert models == set(MODELS.values())
    assert len(models) == len(MODELS)
    model = create("metaformer_ppaa_s12_224", num_classes=3)
    assert model.config == replace(MODELS["metaformer_ppaa_s12_224"], num_classes=3)


def test_a_model_changed_by_overrides_has_no_published_counts(tmp_path):
    target = tmp_path / "profile.csv"
    words = ["--model.token_mixers=attention", "--model.depths=[1, 1, 1, 1]", "--format=csv"]
    assert main(["profile", *words, f"-o={target}"]) == 0
    found = pd.read_csv(target)
    assert found["paper_params_m"].isna().all()
    assert "with depths=[1,1,1,1], token_mixers=attention" in found["variant"][0]


def test_a_custom_mixer_gets_its_row(tmp_path):
    """The README's example as it is printed, with a smaller model and fewer epochs."""
    write_files(tmp_path)
    readme = Path("README.md").read_text()
    (command,) = re.findall(r"^ablations (run my_mixer\.yaml .*?)(?: +#.*)?$", readme, re.MULTILINE)
    words = [*command.split(), "--seeds=0", *TINY_FLAGS, "--optim.epochs=1"]
    done = run("ablations", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "shift" in line]
    assert ["Pooling -> shift" in rows[0], "[Pool,Pool,shift,shift]" in rows[1]] == [True, True]
    for row in rows:
        assert re.search(r"\d\d\.\d\d", row), row
