"""Files of weights: read them in any layout, find the model that they fit, encode them."""

from __future__ import annotations

import argparse
import functools
import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed_nhwc
from torch import Tensor

from poolformer._layouts import LAYOUTS, convert_layout, detect_layout
from poolformer.config import MetaFormerConfig
from poolformer.errors import CheckpointError
from poolformer.metaformer import MetaFormer
from poolformer.models import MODELS

__all__ = [
    "LAYOUTS",
    "SUFFIXES",
    "convert_layout",
    "detect_layout",
    "encode_weights",
    "load_checkpoint",
    "matching_models",
    "read_weights",
]

# Keys under which training scripts store the weights, averaged ones first.
_WRAPPERS = ["state_dict_ema", "model_ema", "state_dict", "model"]
# Prefixes that wrappers of a model add to its keys: DataParallel, torch.compile, Lightning.
_PREFIX = re.compile(r"^((module|_orig_mod|model)\.)+")
SUFFIXES = [".pt", ".pth", ".tar", ".bin", ".safetensors"]


def matching_models(weights: Mapping[str, Tensor], file: str | Path = "") -> list[str]:
    """The names of MODELS that weights fit, in any layout and with any number of classes.

    Several models may fit: pooling and the identity, for instance, have no weights. A model that
    ``file`` is named after comes first, as the released files are; then the order of MODELS.

    Raises:
        CheckpointError: The keys belong to no layout.
    """
    shapes = _body_shapes(convert_layout(weights, "own"))
    found = []
    for name, config in MODELS.items():
        # The keys of the last block rule out most models before they are built.
        last = f"stages.{len(config.depths) - 1}.blocks.{config.depths[-1] - 1}."
        if any(key.startswith(last) for key in shapes) and _shapes_of(config) == shapes:
            found.append(name)
    stem = Path(file).name
    named_after = max((name for name in found if stem.startswith(name)), key=len, default=None)
    return sorted(found, key=lambda name: name != named_after)


@functools.cache
def _shapes_of(config: MetaFormerConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return _body_shapes(MetaFormer(config).state_dict())


def _body_shapes(own: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in own.items() if not key.startswith("head.")}


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file: torch's format (also wrapped by a training script) or safetensors.

    No code of the file runs: torch loads with ``weights_only=True``. The only other class allowed
    is argparse.Namespace, in which training scripts store their flags.

    Raises:
        CheckpointError: The file does not exist or holds no weights.
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
            with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
                warnings.simplefilter("ignore")  # about pickles, which fail below
                tree = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the readers raise for a broken or hostile file
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {_describe_read_error(error)}"
        ) from error
    for name in _WRAPPERS:
        if isinstance(tree, dict) and isinstance(tree.get(name), dict):
            tree = tree[name]
    if not isinstance(tree, dict) or not all(
        isinstance(item, Tensor) and item.layout == torch.strided and not item.is_meta
        for item in tree.values()
    ):
        raise CheckpointError(f"checkpoint {path} holds no state dict of dense tensors")
    weights = {_PREFIX.sub("", str(key)): tensor for key, tensor in tree.items()}
    if not weights:
        raise CheckpointError(f"checkpoint {path} is empty")
    if len(weights) < len(tree):
        raise CheckpointError(f"checkpoint {path} holds two models, one with a prefix on its keys")
    return weights


def _describe_read_error(error: Exception) -> str:
    """Why a file cannot be read. torch's own message advises to run the code in the file."""
    if match := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it asks for {match[1]}, but only files of tensors are read; no code of it was run"
    if isinstance(error, OSError) and error.filename:  # a failed seek of torch has no filename
        return str(error.strerror)
    return "it is truncated, or no file of weights"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def encode_weights(weights: Mapping[str, Tensor], path: str | Path) -> bytes:
    """The content of a file of weights: safetensors if ``path`` ends so, else torch's format.

    Raises:
        CheckpointError: The suffix is not one of SUFFIXES, or the format cannot hold the weights.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise CheckpointError(f"{path} must end in one of {', '.join(SUFFIXES)}")
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}
    try:
        if suffix == ".safetensors":
            from safetensors.torch import save

            return save(plain, metadata={"format": "pt"})  # some readers require it
        buffer = io.BytesIO()
        torch.save(plain, buffer)
        return buffer.getvalue()
    except Exception as error:  # both writers raise errors of their own
        raise CheckpointError(f"{path} cannot be written: {_first_line(error)}") from error


def load_checkpoint(
    model: MetaFormer,
    path: str | Path,
    *,
    new_head: bool = False,
    resize_position_embedding: bool = False,
) -> list[str]:
    """Load weights of any layout into a model: all of them, or none if an error is raised.

    The layout also sets the order of the head (``MetaFormer.set_head_order``), so that the logits
    are those of the code that wrote the file: timm's for timm's layout, else the paper's.

    Args:
        model: A model with the architecture of the file.
        path: A file that ``read_weights`` can read.
        new_head: Keep the model's head if the file has no head or another number of classes.
        resize_position_embedding: Interpolate a position embedding of another resolution.

    Returns:
        A line for each weight that differs from the file.

    Raises:
        CheckpointError: The file cannot be read or does not fit; names the keys and both shapes.
    """
    found = read_weights(path)
    try:
        layout, weights = detect_layout(found), convert_layout(found, "own", strict=False)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    expected = model.state_dict()
    notes = []
    if new_head:
        head, classes = weights.get("head.weight"), model.config.num_classes
        in_file = 0 if head is None else head.shape[0] if head.ndim == 2 else classes
        if in_file != classes:
            kept = {key: value for key, value in expected.items() if key.startswith("head.")}
            weights = {k: v for k, v in weights.items() if not k.startswith("head.")} | kept
            notes.append(f"the head is new: {classes} classes, the file has {in_file or 'none'}")
    if resize_position_embedding:
        for key in [key for key in weights if key.endswith("position_embedding.embedding")]:
            old, new = weights[key], expected.get(key)
            if new is None or old.shape == new.shape or not _resizable(old, new):
                continue
            size = list(new.shape[2:])
            resized = resample_abs_pos_embed_nhwc(old.permute(0, 2, 3, 1), size)
            weights[key] = resized.permute(0, 3, 1, 2)
            notes.append(f"{key} is resized from {list(old.shape[2:])} to {size}")
    names = "" if layout == "own" else f" ({layout} layout; keys in our names)"
    _check_fit(f"{path}{names}", weights, expected)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint {path}: {_first_line(error)}") from error
    model.set_head_order("timm" if layout == "timm" else "official")
    return notes


def _resizable(old: Tensor, new: Tensor) -> bool:
    same = old.ndim == 4 and old.shape[:2] == new.shape[:2]
    return same and old.numel() > 0 and old.is_floating_point()


def _check_fit(name: str, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    shared = [(key, weights[key], expected[key]) for key in expected if key in weights]
    found = {
        "missing": [key for key in expected if key not in weights],
        "unexpected": [key for key in weights if key not in expected],
        "of another shape": [
            f"{key} {list(own.shape)} for {list(wanted.shape)}"
            for key, own, wanted in shared
            if own.shape != wanted.shape
        ],
        "of another type": [
            f"{key} {own.dtype} for {wanted.dtype}"
            for key, own, wanted in shared
            if own.is_floating_point() != wanted.is_floating_point()
        ],
    }
    problems = [
        f"{len(keys)} {word}: {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"
        for word, keys in found.items()
        if keys
    ]
    if problems:
        raise CheckpointError(f"checkpoint {name} does not fit the model: {'; '.join(problems)}")
