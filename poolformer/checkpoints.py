"""Weights in and out: the paper's files, timm's and our own.

Three layouts of one set of tensors, told apart by their keys. Each is a renaming of ours; the
paper's and timm's channel MLPs are 1x1 convolutions, ours are linear layers, so their weights gain
and lose two axes of length one.

    own        stages.0.downsample.weight   stages.0.blocks.0.token.norm.weight   head.weight
    official   patch_embed.proj.weight      network.0.0.norm1.weight              head.weight
    timm       stem.conv.weight             stages.0.blocks.0.norm1.weight        head.fc.weight
"""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed_nhwc
from torch import Tensor

from poolformer.config import ConfigError, unknown
from poolformer.metaformer import MetaFormer

LAYOUTS = {
    "own": "stages.0.downsample.weight",
    "official": "patch_embed.proj.weight",
    "timm": "stem.conv.weight",
}
# Inside a block: ours -> theirs.
BLOCK = {
    "official": {
        "token.norm": "norm1",
        "token.body": "token_mixer",
        "token.scale.gamma": "layer_scale_1",
        "channel.norm": "norm2",
        "channel.body": "mlp",
        "channel.scale.gamma": "layer_scale_2",
    },
    "timm": {
        "token.norm": "norm1",
        "token.body": "token_mixer",
        "token.scale.gamma": "layer_scale1.scale",
        "channel.norm": "norm2",
        "channel.body": "mlp",
        "channel.scale.gamma": "layer_scale2.scale",
    },
}
MLP = re.compile(r"\.(mlp|channel\.body)\.fc[12]\.weight$")
# Where training scripts put the weights: averaged ones first.
WRAPPERS = ["state_dict_ema", "model_ema", "state_dict", "model"]
# What wrappers of a model put before its keys: DataParallel, torch.compile, Lightning.
PREFIX = re.compile(r"^((module|_orig_mod|model)\.)+")
SUFFIXES = [".pt", ".pth", ".tar", ".bin", ".safetensors"]


class CheckpointError(ConfigError):
    """A file that holds no weights, or weights that do not fit; the message is one line."""


def layout_of(weights: Mapping[str, Tensor]) -> str:
    """own, official or timm.

    Raises:
        CheckpointError: The keys are of none of them.
    """
    for name, key in LAYOUTS.items():
        if key in weights:
            return name
    some = ", ".join(list(weights)[:3]) or "none"
    raise CheckpointError(
        f"weights of an unknown layout (keys: {some}, ...): own, official and timm have one of "
        f"{', '.join(LAYOUTS.values())}"
    )


def convert(weights: Mapping[str, Tensor], to: str) -> dict[str, Tensor]:
    """The same tensors under the names of another layout; there and back is exact.

    Raises:
        CheckpointError: An unknown layout, or a tensor that no MetaFormer of ours or ``to`` has a
            name for.
    """
    if to not in LAYOUTS:
        raise CheckpointError(unknown("layout", to, LAYOUTS))
    layout = layout_of(weights)
    own = weights if layout == "own" else _renamed(weights, layout, back=True)
    return dict(own) if to == "own" else _renamed(own, to)


def _renamed(weights: Mapping[str, Tensor], layout: str, back: bool = False) -> dict[str, Tensor]:
    """Ours under the names of a layout, or ``back``: those of a layout under ours."""
    outside = _places(weights, layout, back)
    inside = BLOCK[layout]
    if back:
        outside = {theirs: ours for ours, theirs in outside.items()}
        inside = {theirs: ours for ours, theirs in inside.items()}
    renamed = {}
    for key, tensor in weights.items():
        place = _prefix(key, outside)
        if place is None:
            raise _nameless(key, layout, back)
        name, rest = outside[place], key.removeprefix(place)
        if block := re.match(r"\.(\d+)\.(.+)", rest):
            part = _prefix(block[2], inside)
            if part is None:
                raise _nameless(key, layout, back)
            rest = f".{block[1]}.{inside[part]}{block[2].removeprefix(part)}"
        if MLP.search(key) and tensor.ndim == (4 if back else 2):
            tensor = tensor.flatten(1) if back else tensor[:, :, None, None]
        renamed[name + rest] = tensor
    return renamed


def _nameless(key: str, layout: str, back: bool) -> CheckpointError:
    who = "a MetaFormer of ours" if back else f"the {layout} layout"
    return CheckpointError(f"{who} has no name for {key}")


def _prefix(key: str, names: Iterable[str]) -> str | None:
    """The name that is ``key`` or the longest whole number of its dotted parts."""
    found = (name for name in names if key == name or key.startswith(name + "."))
    return max(found, key=len, default=None)


def _places(keys: Iterable[str], layout: str, back: bool) -> dict[str, str]:
    """What stands outside the blocks: ours -> theirs, for the stages that these keys have."""
    if layout == "timm":
        stages = [int(found[1]) for key in keys if (found := re.match(r"stages\.(\d+)\.", key))]
        return {
            **{f"stages.{stage}.downsample": f"stages.{stage}.downsample.conv" for stage in stages},
            **{f"stages.{stage}.blocks": f"stages.{stage}.blocks" for stage in stages},
            "stages.0.downsample": "stem.conv",
            "norm": "head.norm",
            "head": "head.fc",
        }
    # The paper's flat list ``network`` holds, stage by stage, a position embedding where there is
    # one, the blocks, and the convolution to the next stage.
    places = {"stages.0.downsample": "patch_embed.proj", "norm": "norm", "head": "head"}
    number = 0
    for stage, embedded in enumerate(_embedded(keys, back)):
        if stage:
            places[f"stages.{stage}.downsample"] = f"network.{number}.proj"
            number += 1
        if embedded:
            embedding = f"stages.{stage}.position_embedding.embedding"
            places[embedding] = f"network.{number}.pos_embed"
            number += 1
        places[f"stages.{stage}.blocks"] = f"network.{number}"
        number += 1
    return places


def _embedded(keys: Iterable[str], official: bool) -> list[bool]:
    """For each stage, whether it has a position embedding; read from official keys or from ours."""
    keys = list(keys)
    if official:
        kinds = {
            int(found[1]): found[2]
            for key in keys
            if (found := re.match(r"network\.(\d+)\.(pos_embed|proj|)", key))
        }
        # Only a convolution or an embedding ends one stage and begins another.
        word = "".join({"pos_embed": "e", "proj": "p", "": "b"}[kinds[n]] for n in sorted(kinds))
        return ["e" in stage for stage in word.split("p")]
    stages = [int(found[1]) for key in keys if (found := re.match(r"stages\.(\d+)\.", key))]
    embedding = "stages.{}.position_embedding.embedding"
    return [embedding.format(stage) in keys for stage in range(max(stages, default=-1) + 1)]


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file: torch's format (also wrapped by a training script) or safetensors.

    No code of the file is run: torch loads with ``weights_only=True``; besides tensors only the
    argparse.Namespace in which training scripts keep their flags is let through.

    Raises:
        CheckpointError: No such file, or a file that holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "missing"
        raise CheckpointError(f"checkpoint {path} is {what}: give a .pth, .pt or .safetensors file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tree: Any = load_file(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):
                tree = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile file makes the readers raise
        raise CheckpointError(f"checkpoint {path} cannot be read: {_first_line(error)}") from error
    for name in WRAPPERS:
        if isinstance(tree, dict) and isinstance(tree.get(name), dict):
            tree = tree[name]
    if not isinstance(tree, dict) or not all(isinstance(t, Tensor) for t in tree.values()):
        raise CheckpointError(f"checkpoint {path} holds no state dict of tensors")
    return {PREFIX.sub("", str(key)): tensor for key, tensor in tree.items()}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def write_weights(weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Write a state dict, as safetensors where the name ends so, whole or not at all.

    Raises:
        CheckpointError: A name with another ending than SUFFIXES, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path} must end in one of {', '.join(SUFFIXES)}")
    partial = path.with_name(f".{path.name}.partial")
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(plain, partial, metadata={"format": "pt"})  # without it some readers refuse
        else:
            torch.save(plain, partial)
        partial.replace(path)
    except Exception as error:  # both writers have errors of their own beside OSError
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path} cannot be written: {_first_line(error)}") from error


def load_checkpoint(
    model: MetaFormer,
    path: str | Path,
    *,
    new_head: bool = False,
    resize_position_embedding: bool = False,
) -> list[str]:
    """Load weights of any layout into a model; all of them or, on an error, none.

    Weights of the official layout and of timm's are given the head of their code
    (``MetaFormer.order_head``), so that the logits are those of that code.

    Args:
        model: Built for the architecture of the file.
        path: A file that ``read_weights`` reads.
        new_head: Keep the model's own head where the file has another number of classes.
        resize_position_embedding: Interpolate a position embedding of another resolution.

    Returns:
        A line for each thing that is not as in the file.

    Raises:
        CheckpointError: The file cannot be read or does not fit; names the keys and both shapes.
    """
    found = read_weights(path)
    try:
        layout, weights = layout_of(found), convert(found, "own")
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    expected = model.state_dict()
    told = []
    if new_head and (head := weights.get("head.weight")) is not None:
        ours = expected.get("head.weight")
        if ours is None or head.shape != ours.shape:
            kept = {key: value for key, value in expected.items() if key.startswith("head.")}
            weights = {k: v for k, v in weights.items() if not k.startswith("head.")} | kept
            classes = model.config.num_classes
            told.append(f"the head is new: {classes} classes, the file has {head.shape[0]}")
    if resize_position_embedding:
        for key in [key for key in weights if key.endswith("position_embedding.embedding")]:
            old, new = weights[key], expected.get(key)
            if new is None or old.ndim != 4 or old.shape[2:] == new.shape[2:]:
                continue
            size = list(new.shape[2:])
            resized = resample_abs_pos_embed_nhwc(old.permute(0, 2, 3, 1), size)
            weights[key] = resized.permute(0, 3, 1, 2)
            told.append(f"{key} is resized from {list(old.shape[2:])} to {size}")
    _check_fit(path, weights, expected)
    model.load_state_dict(weights)
    if layout != "own":
        model.order_head(layout)
    return told


def _check_fit(
    path: str | Path, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    shapes = [
        f"{key} {list(weights[key].shape)} for {list(expected[key].shape)}"
        for key in expected
        if key in weights and weights[key].shape != expected[key].shape
    ]
    told = [
        f"{len(keys)} {word}: {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"
        for keys, word in (
            (missing, "missing"),
            (unexpected, "unexpected"),
            (shapes, "of another shape"),
        )
        if keys
    ]
    if told:
        raise CheckpointError(f"checkpoint {path} does not fit the model: {'; '.join(told)}")
