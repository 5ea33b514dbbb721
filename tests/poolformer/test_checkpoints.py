"""Weights in three layouts: converting is exact, and timm's model reads them."""

from __future__ import annotations

import argparse
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.metaformer import checkpoint_filter_fn

from poolformer import SIZES, MetaFormer, MetaFormerConfig
from poolformer.checkpoints import (
    LAYOUTS,
    convert_layout,
    detect_layout,
    encode_weights,
    load_checkpoint,
    read_weights,
)
from poolformer.config import MIXER_NAMES
from poolformer.errors import CheckpointError
from tests.factories.models import perturbed, write_weights

SMALL = MetaFormerConfig(
    depths=(1, 2, 1, 1), dims=(8, 16, 16, 24), head_dim=8, num_classes=5, image_size=64
)
PPAA = replace(SMALL, token_mixers=("pool", "pool", "attention", "attention"), norm="layer")
VARIANTS = {
    **{name: replace(SMALL, token_mixers=name) for name in MIXER_NAMES},
    "ppaa": replace(PPAA, position_embedding=3),
    "pppa": replace(
        SMALL, token_mixers=("pool", "pool", "pool", "attention"), position_embedding=4
    ),
    "first": replace(SMALL, position_embedding=1),
    "no_mlp": replace(SMALL, channel_mlp=False),
    "no_norm": replace(SMALL, norm="none"),
    "batch": replace(SMALL, norm="batch"),
    "no_scale": replace(SMALL, layer_scale_init=None),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_converting_to_a_layout_and_back_is_exact(name, layout):
    own = perturbed(MetaFormer(VARIANTS[name])).state_dict()
    if layout == "timm" and VARIANTS[name].position_embedding:
        with pytest.raises(CheckpointError, match="the timm layout has no name for"):
            convert_layout(own, layout)
        return
    converted = convert_layout(own, layout)
    assert detect_layout(converted) == layout
    back = convert_layout(converted, "own")
    assert list(back) == list(own)
    assert all(torch.equal(back[key], own[key]) for key in own)


@pytest.mark.parametrize("size", SIZES)
def test_the_timm_layout_has_the_keys_and_shapes_of_timms_model(size):
    with torch.device("meta"):
        expected = timm.create_model(f"poolformer_{size}").state_dict()
        converted = convert_layout(MetaFormer(SIZES[size]).state_dict(), "timm")
    assert {key: value.shape for key, value in converted.items()} == {
        key: value.shape for key, value in expected.items()
    }


@pytest.mark.parametrize("size", SIZES)
def test_timm_reads_the_official_layout(size):
    """timm's filter for the released files is an independent conversion."""
    model = timm.create_model(f"poolformer_{size}")
    own = MetaFormer(SIZES[size]).state_dict()
    read = checkpoint_filter_fn(convert_layout(own, "official"), model)
    converted = convert_layout(own, "timm")
    assert read.keys() == converted.keys()
    assert all(torch.equal(read[key], converted[key]) for key in converted)


def test_the_head_order_follows_the_layout(tmp_path):
    source = perturbed(MetaFormer(SMALL))
    x = torch.randn(2, 3, 64, 64)
    features = source.stages(x)
    official = source.head(F.group_norm(
        features, 1, source.norm.weight, source.norm.bias, eps=1e-5
    ).mean(dim=(2, 3)))  # fmt: skip
    pooled = features.mean(dim=(2, 3))
    timm_order = source.head(
        F.layer_norm(pooled, pooled.shape[1:], source.norm.weight, source.norm.bias, eps=1e-6)
    )
    assert (official - timm_order).abs().max() > 0.01
    model = MetaFormer(SMALL).eval()
    for layout, expected in (
        ("timm", timm_order),
        ("own", official),
        ("timm", timm_order),
        ("official", official),
    ):
        write_weights(convert_layout(source.state_dict(), layout), tmp_path / "w.pt")
        load_checkpoint(model, tmp_path / "w.pt")
        torch.testing.assert_close(model(x), expected, atol=1e-6, rtol=1e-5)
    with pytest.raises(CheckpointError.__bases__[0], match="did you mean 'timm'"):
        model.set_head_order("tim")


def test_official_names_are_those_of_the_released_files():
    keys = convert_layout(MetaFormer(VARIANTS["ppaa"]).state_dict(), "official")
    assert {
        "patch_embed.proj.weight",
        "network.0.0.norm1.weight",
        "network.0.0.layer_scale_1",
        "network.0.0.mlp.fc1.weight",
        "network.1.proj.weight",
        "network.4.pos_embed",  # before the blocks of the third stage
        "network.5.0.token_mixer.qkv.weight",
        "network.7.0.token_mixer.proj.bias",
        "norm.weight",
        "head.bias",
    } <= set(keys)
    assert keys["network.0.0.mlp.fc1.weight"].shape == (32, 8, 1, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("file", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "state_dict_ema"])
def test_files_of_every_layout_load(tmp_path, layout, file, wrapper):
    source, target = perturbed(MetaFormer(SMALL)), MetaFormer(SMALL)
    weights = convert_layout(source.state_dict(), layout)
    if wrapper is None:
        write_weights(weights, tmp_path / file)
    elif file.endswith("pth"):
        wrapped = {wrapper: {f"module.{key}": value for key, value in weights.items()}, "epoch": 3}
        torch.save(wrapped, tmp_path / file)
    else:
        return
    assert load_checkpoint(target, str(tmp_path / file)) == []
    assert all(
        torch.equal(a, b) for a, b in zip(target.parameters(), source.parameters(), strict=True)
    )


def test_a_head_is_replaced_only_on_request(tmp_path):
    source = perturbed(MetaFormer(SMALL))
    write_weights(source.state_dict(), tmp_path / "w.pt")
    target = MetaFormer(replace(SMALL, num_classes=7))
    with pytest.raises(CheckpointError, match=r"2 of another shape: head.weight \[5, 24\] for"):
        load_checkpoint(target, tmp_path / "w.pt")
    notes = load_checkpoint(target, tmp_path / "w.pt", new_head=True)
    assert notes == ["the head is new: 7 classes, the file has 5"]
    write_weights(MetaFormer(replace(SMALL, num_classes=0)).state_dict(), tmp_path / "none.pt")
    notes = load_checkpoint(target, tmp_path / "none.pt", new_head=True)
    assert notes == ["the head is new: 7 classes, the file has none"]
    write_weights(source.state_dict(), tmp_path / "w.pt")
    load_checkpoint(target, tmp_path / "w.pt", new_head=True)
    assert torch.equal(target.norm.weight, source.norm.weight)


def test_a_position_embedding_is_resized_only_on_request(tmp_path):
    source = perturbed(MetaFormer(VARIANTS["ppaa"]))
    write_weights(source.state_dict(), tmp_path / "w.pt")
    target = MetaFormer(replace(VARIANTS["ppaa"], image_size=128))
    with pytest.raises(CheckpointError, match=r"\[1, 16, 4, 4\] for \[1, 16, 8, 8\]"):
        load_checkpoint(target, tmp_path / "w.pt")
    (notes,) = load_checkpoint(target, tmp_path / "w.pt", resize_position_embedding=True)
    assert "resized from [4, 4] to [8, 8]" in notes
    key = "stages.2.position_embedding.embedding"
    for wrong in (torch.zeros(2, 16, 4, 4), torch.zeros(1, 16, 0, 4), torch.zeros(16, 4)):
        write_weights({**source.state_dict(), key: wrong}, tmp_path / "wrong.pt")
        with pytest.raises(CheckpointError, match="1 of another shape"):
            load_checkpoint(target, tmp_path / "wrong.pt", resize_position_embedding=True)


def test_weights_of_another_model_are_refused_and_nothing_is_loaded(tmp_path):
    target = MetaFormer(SMALL)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    for other in (replace(SMALL, norm="none"), replace(SMALL, token_mixers="depthwise"), PPAA):
        write_weights(perturbed(MetaFormer(other)).state_dict(), tmp_path / "w.pt")
        if other is PPAA:
            other_keys = "unexpected: stages.2.blocks.0.token.body.qkv.weight"
        else:
            other_keys = "missing: " if other.norm == "none" else "unexpected: "
        with pytest.raises(CheckpointError, match=other_keys) as caught:
            load_checkpoint(target, tmp_path / "w.pt")
        assert "\n" not in str(caught.value)
        assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


class Hostile:
    """A pickle that would run a command."""

    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/poolformer-pickle-ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"no checkpoint", "cannot be read"),
        (pickle.dumps(Hostile()), "cannot be read"),
        (None, "cannot be read"),  # truncated
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_without_weights_is_refused(tmp_path, content, message, suffix):
    path = tmp_path / f"w.{suffix}"
    write_weights(MetaFormer(SMALL).state_dict(), path)
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(MetaFormer(SMALL), path)
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/poolformer-pickle-ran").exists()


def test_missing_files_folders_and_other_weights_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is missing"):
        read_weights(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_weights(tmp_path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        read_weights(tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="unknown layout"):
        convert_layout({"conv1.weight": torch.zeros(1)}, "own")
    with torch.device("meta"):
        follow_up = timm.create_model("caformer_s18").state_dict()  # in timm's layout, too
    with pytest.raises(CheckpointError, match="the own layout has no name for stem.norm"):
        convert_layout(follow_up, "own")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match=r"checkpoint .*resnet.pth: weights of an unknown"):
        load_checkpoint(MetaFormer(SMALL), tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match="did you mean 'official'"):
        convert_layout(MetaFormer(SMALL).state_dict(), "offical")


def test_checkpoints_of_training_scripts_are_read(tmp_path):
    """Flags in a Namespace beside the weights, a compiled model, a checkpoint of our own runs."""
    source = perturbed(MetaFormer(SMALL))
    weights = source.state_dict()
    for prefix, extra in (
        ("module.", {"args": argparse.Namespace(lr=0.004)}),
        ("_orig_mod.", {}),
        ("model._orig_mod.", {"epoch": 1}),
    ):
        tree = {"state_dict": {prefix + key: value for key, value in weights.items()}, **extra}
        torch.save(tree, tmp_path / "w.pth.tar")
        found = read_weights(tmp_path / "w.pth.tar")
        assert list(found) == list(weights)


@pytest.mark.parametrize("name", ["w", "w.txt"])
def test_an_unknown_suffix_is_refused(name):
    with pytest.raises(CheckpointError, match=f"^{name} must end in one of"):
        encode_weights(MetaFormer(SMALL).state_dict(), name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: {}, "is empty"),
        (lambda weights: {k: v.to("meta") for k, v in weights.items()}, "of dense tensors"),
        (
            lambda weights: {**weights, **{f"module.{k}": v for k, v in weights.items()}},
            "two models",
        ),
        (
            lambda weights: {k: v for k, v in weights.items() if ".proj." not in k or "patch" in k},
            "6 missing: stages.1.downsample.weight",
        ),
        (
            lambda weights: {k: v[..., None] if "fc1.w" in k else v for k, v in weights.items()},
            r"fc1.weight \[\d+, \d+, 1, 1, 1\] for",
        ),
        (
            lambda weights: {k: v for k, v in weights.items() if "network.2.0.norm1" not in k},
            r"\(official layout; keys in our names\) does not fit the model: 2 missing: stages.1",
        ),
        (lambda weights: {"a": {"b": torch.zeros(1)}}, "holds no state dict of dense tensors"),
        (lambda weights: {"model": None}, "holds no state dict of dense tensors"),
        (lambda weights: {0: torch.zeros(1)}, "keys: 0"),
        (lambda weights: {k: v.to_sparse() for k, v in weights.items()}, "of dense tensors"),
        (
            lambda weights: {k: v.long() for k, v in weights.items()},
            r"weight torch.int64 for torch",
        ),
        (lambda weights: {k: v + 1j for k, v in weights.items()}, "torch.complex64 for torch"),
        (
            lambda weights: {k: v.sum() for k, v in weights.items()},
            r"of another shape: .* \[\] for",
        ),
        (lambda weights: {**weights, "fc.weight": torch.zeros(1)}, "1 unexpected: fc.weight"),
        (
            lambda weights: {k: v for k, v in weights.items() if not k.startswith("network")},
            "missing: stages.0.blocks.0",
        ),
    ],
)
def test_invalid_weights_are_refused_and_nothing_is_loaded(tmp_path, change, message):
    model = MetaFormer(SMALL)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.save(change(convert_layout(before, "official")), tmp_path / "w.pth")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, tmp_path / "w.pth", new_head=True, resize_position_embedding=True)
    assert "\n" not in str(caught.value)
    assert re.search(message, str(caught.value))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
