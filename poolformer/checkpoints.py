"""Weights in and out: the paper's files, timm's and our own.

Three layouts of one set of tensors, told apart by their keys. Each is a renaming of ours; the
paper's and timm's channel MLPs are 1x1 convolutions, ours are linear layers, so their weights gain
and lose two axes of length one.

    own        stages.0.downsample.weight   stages.0.blocks.0.token.norm.weight   head.weight
    official   patch_embed.proj.weight      network.0.0.norm1.weight              head.weight
    timm       stem.conv.weight             stages.0.blocks.0.norm1.weight        head.fc.weight
"""

from __future__ import annotations

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
# Inside a block: ours, the paper's, timm's.
BLOCK = [
    ("token.norm", "norm1", "norm1"),
    ("token.scale.gamma", "layer_scale_1", "layer_scale1.scale"),
    ("token.body.attention", "token_mixer", "token_mixer"),
    ("token.body", "token_mixer", "token_mixer"),
    ("channel.norm", "norm2", "norm2"),
    ("channel.scale.gamma", "layer_scale_2", "layer_scale2.scale"),
    ("channel.body.mlp", "mlp", "mlp"),
]
COLUMN = {"official": 1, "timm": 2}
MLP = re.compile(r"\.mlp\.fc[12]\.weight$")
# Where training scripts put the weights: the official one, timm's (averaged weights first), others.
WRAPPERS = ["state_dict_ema", "model_ema", "state_dict", "model"]


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
        CheckpointError: An unknown layout, or a tensor that ``to`` has no name for.
    """
    if to not in LAYOUTS:
        raise CheckpointError(unknown("layout", to, LAYOUTS))
    layout = layout_of(weights)
    if layout == to:
        return dict(weights)
    own = dict(weights) if layout == "own" else _to_own(weights, layout)
    return own if to == "own" else _from_own(own, to)


def _to_own(weights: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    places = _official_places(weights) if layout == "official" else {}
    own = {}
    for key, tensor in weights.items():
        if MLP.search(key) and tensor.ndim == 4:
            tensor = tensor.flatten(1)
        name = _official_name(key, places) if layout == "official" else _timm_name(key)
        own[name] = tensor
    return own


def _official_places(keys: Iterable[str]) -> dict[str, str]:
    """The paper's flat list ``network``: what each of its numbers is in ours.

    It holds, stage by stage, a position embedding where there is one, the blocks, and the
    convolution to the next stage.
    """
    kinds: dict[int, str] = {}
    for key in keys:
        if found := re.match(r"network\.(\d+)\.(pos_embed|proj)?", key):
            kinds[int(found[1])] = found[2] or kinds.get(int(found[1]), "blocks")
    places, stage = {}, 0
    for number in sorted(kinds):
        if kinds[number] == "proj":
            stage += 1
            places[f"network.{number}.proj"] = f"stages.{stage}.downsample"
        elif kinds[number] == "pos_embed":
            places[f"network.{number}.pos_embed"] = f"stages.{stage}.position_embedding.embedding"
        else:
            places[f"network.{number}"] = f"stages.{stage}.blocks"
    return places


def _official_name(key: str, places: Mapping[str, str]) -> str:
    if key.startswith("patch_embed.proj."):
        return key.replace("patch_embed.proj", "stages.0.downsample")
    found = re.match(r"(network\.\d+(?:\.(?:proj|pos_embed))?)(.*)", key)
    if not found or found[1] not in places:
        return key
    place, rest = places[found[1]], found[2]
    inner = re.match(r"\.(\d+)\.(.*)", rest) if place.endswith("blocks") else None
    return f"{place}.{inner[1]}.{_block_name(inner[2], 'official')}" if inner else place + rest


def _timm_name(key: str) -> str:
    for theirs, ours in (
        (r"^stem\.conv\.", "stages.0.downsample."),
        (r"\.downsample\.conv\.", ".downsample."),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    ):
        key = re.sub(theirs, ours, key)
    inner = re.match(r"(stages\.\d+\.blocks\.\d+)\.(.*)", key)
    return f"{inner[1]}.{_block_name(inner[2], 'timm')}" if inner else key


def _block_name(inner: str, layout: str) -> str:
    """A name inside a block, ours for theirs."""
    if re.match(r"token_mixer\.(qkv|proj)\.", inner):
        return inner.replace("token_mixer", "token.body.attention", 1)
    for names in BLOCK:
        if names[0] != "token.body.attention" and _starts(inner, names[COLUMN[layout]]):
            return names[0] + inner.removeprefix(names[COLUMN[layout]])
    return inner


def _from_own(own: Mapping[str, Tensor], to: str) -> dict[str, Tensor]:
    if to == "timm" and (odd := next((key for key in own if "position_embedding" in key), None)):
        raise CheckpointError(f"timm's layout has no name for {odd}: write official or own")
    stages = 1 + max(int(found[1]) for key in own if (found := re.match(r"stages\.(\d+)\.", key)))
    embedded = {
        int(key.split(".")[1]) for key in own if key.endswith("position_embedding.embedding")
    }
    # The paper numbers embeddings, stages and the convolutions between them in one list.
    numbers: dict[str, str] = {"stages.0.downsample": "patch_embed.proj"}
    count = 0
    for stage in range(stages):
        if stage:
            numbers[f"stages.{stage}.downsample"] = f"network.{count}.proj"
            count += 1
        if stage in embedded:
            ours = f"stages.{stage}.position_embedding.embedding"
            numbers[ours] = f"network.{count}.pos_embed"
            count += 1
        numbers[f"stages.{stage}.blocks"] = f"network.{count}"
        count += 1
    theirs = {}
    for key, tensor in own.items():
        if MLP.search(key) and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]
        inner = re.match(r"(stages\.\d+\.blocks)\.(\d+)\.(.*)", key)
        if inner:
            name = next(
                names[COLUMN[to]] + inner[3].removeprefix(names[0])
                for names in BLOCK
                if _starts(inner[3], names[0])
            )
            place = numbers[inner[1]] if to == "official" else inner[1]
            theirs[f"{place}.{inner[2]}.{name}"] = tensor
        elif to == "official":
            place = next((ours for ours in numbers if _starts(key, ours)), "")
            theirs[numbers.get(place, "") + key.removeprefix(place)] = tensor
        else:
            for ours, name in (
                (r"^stages\.0\.downsample\.", "stem.conv."),
                (r"\.downsample\.", ".downsample.conv."),
                (r"^norm\.", "head.norm."),
                (r"^head\.(?!norm\.)", "head.fc."),
            ):
                key = re.sub(ours, name, key)
            theirs[key] = tensor
    return theirs


def _starts(key: str, prefix: str) -> bool:
    """Whether ``prefix`` is ``key`` or a whole number of its dotted parts."""
    return key == prefix or key.startswith(prefix + ".")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file: torch's format (also wrapped by a training script) or safetensors.

    No code of the file is run: torch loads with ``weights_only=True``.

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
            tree = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile file makes the readers raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"checkpoint {path} cannot be read: {lines[0]}") from error
    for name in WRAPPERS:
        if isinstance(tree, dict) and isinstance(tree.get(name), dict):
            tree = tree[name]
    if not isinstance(tree, dict) or not all(isinstance(t, Tensor) for t in tree.values()):
        raise CheckpointError(f"checkpoint {path} holds no state dict of tensors")
    return {str(key).removeprefix("module."): tensor for key, tensor in tree.items()}


def write_weights(weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Write a state dict, as safetensors where the name ends so, whole or not at all."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(plain, partial)
        else:
            torch.save(plain, partial)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path} cannot be written: {error.strerror}") from error


def load_checkpoint(
    model: MetaFormer,
    path: str | Path,
    *,
    new_head: bool = False,
    resize_position_embedding: bool = False,
) -> list[str]:
    """Load weights of any layout into a model; all of them or, on an error, none.

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
    weights = convert(read_weights(path), "own")
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
            new = expected.get(key)
            if new is not None and new.shape[-2:] != weights[key].shape[-2:]:
                old = weights[key]
                size = [new.shape[-2], new.shape[-1]]
                weights[key] = resample_abs_pos_embed_nhwc(old.permute(0, 2, 3, 1), size).permute(
                    0, 3, 1, 2
                )
                told.append(f"{key} is resized from {list(old.shape[-2:])} to {size}")
    _check_fit(path, weights, expected)
    model.load_state_dict(weights)
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
