"""Names of weights in three layouts: our own, the paper's ("official") and timm's.

A layout is recognized by its keys, and a conversion renames them. The channel MLPs of the paper and
of timm are 1x1 convolutions and ours are linear layers, so their weights also gain or lose two axes
of length one.

    own        stages.0.downsample.weight   stages.0.blocks.0.token.norm.weight   head.weight
    official   patch_embed.proj.weight      network.0.0.norm1.weight              head.weight
    timm       stem.conv.weight             stages.0.blocks.0.norm1.weight        head.fc.weight
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from poolformer.config import unknown_name
from poolformer.errors import CheckpointError

LAYOUTS = {  # layout -> the key that identifies it
    "own": "stages.0.downsample.weight",
    "official": "patch_embed.proj.weight",
    "timm": "stem.conv.weight",
}
# Inside a block: own name -> name in the other layout.
_SHARED = {
    "token.norm": "norm1",
    "token.body": "token_mixer",
    "channel.norm": "norm2",
    "channel.body": "mlp",
}
_BLOCK = {
    "official": _SHARED
    | {"token.scale.gamma": "layer_scale_1", "channel.scale.gamma": "layer_scale_2"},
    "timm": _SHARED
    | {"token.scale.gamma": "layer_scale1.scale", "channel.scale.gamma": "layer_scale2.scale"},
}
_MLP_WEIGHT = re.compile(r"\.(mlp|channel\.body)\.fc[12]\.weight$")


def detect_layout(weights: Mapping[str, Tensor]) -> str:
    """own, official or timm.

    Raises:
        CheckpointError: The keys belong to none of them.
    """
    for layout, key in LAYOUTS.items():
        if key in weights:
            return layout
    some = ", ".join(list(weights)[:3]) or "none"
    raise CheckpointError(
        f"weights of an unknown layout (keys: {some}, ...): own, official and timm have one of "
        f"{', '.join(LAYOUTS.values())}"
    )


def convert_layout(
    weights: Mapping[str, Tensor], to: str, strict: bool = True
) -> dict[str, Tensor]:
    """The same tensors under the names of another layout. Converting back gives the same weights.

    Args:
        weights: A state dict in any layout.
        to: own, official or timm.
        strict: Raise an error for a key without a name in the other layout, instead of keeping it.

    Raises:
        CheckpointError: The layout does not exist, or a key has no name in it.
    """
    if to not in LAYOUTS:
        raise CheckpointError(unknown_name("layout", to, LAYOUTS))
    layout = detect_layout(weights)
    own = weights if layout == "own" else _rename(weights, layout, strict, to_own=True)
    return dict(own) if to == "own" else _rename(own, to, strict)


def _rename(
    weights: Mapping[str, Tensor], layout: str, strict: bool, to_own: bool = False
) -> dict[str, Tensor]:
    """Rename from own to ``layout``, or with ``to_own`` from ``layout`` to own."""
    outside = _names_outside_blocks(weights, layout, to_own)
    inside = _BLOCK[layout]
    if to_own:
        outside = {other: own for own, other in outside.items()}
        inside = {other: own for own, other in inside.items()}
    renamed, nameless = {}, []
    for key, tensor in weights.items():
        name = _rename_key(key, outside, inside)
        if name is None:
            nameless.append(key)
        if _MLP_WEIGHT.search(key):
            if to_own and tensor.shape[2:] == (1, 1):
                tensor = tensor.flatten(1)
            elif not to_own and tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        renamed[name or key] = tensor
    if nameless and strict:
        target = "own" if to_own else layout
        more = f" and {len(nameless) - 4} more" if nameless[4:] else ""
        raise CheckpointError(
            f"the {target} layout has no name for {', '.join(nameless[:4])}{more}"
        )
    return renamed


def _rename_key(key: str, outside: Mapping[str, str], inside: Mapping[str, str]) -> str | None:
    """The new name of a key, from names outside and inside the blocks; None if there is none."""
    prefix = _longest_prefix(key, outside)
    if prefix is None:
        return None
    rest = key.removeprefix(prefix)
    if block := re.match(r"\.(\d+)\.(.+)", rest):
        part = _longest_prefix(block[2], inside)
        if part is None:
            return None
        rest = f".{block[1]}.{inside[part]}{block[2].removeprefix(part)}"
    return outside[prefix] + rest


def _longest_prefix(key: str, names: Iterable[str]) -> str | None:
    """The longest name that is ``key`` or ends at one of its dots."""
    found = (name for name in names if key == name or key.startswith(name + "."))
    return max(found, key=len, default=None)


def _names_outside_blocks(keys: Iterable[str], layout: str, official: bool) -> dict[str, str]:
    """Own name -> name in the layout, for the stages that these keys have."""
    if layout == "timm":
        stages = range(_count_stages(keys))
        return {
            **{f"stages.{stage}.downsample": f"stages.{stage}.downsample.conv" for stage in stages},
            **{f"stages.{stage}.blocks": f"stages.{stage}.blocks" for stage in stages},
            "stages.0.downsample": "stem.conv",
            "norm": "head.norm",
            "head": "head.fc",
        }
    # The paper's flat list ``network`` holds for each stage a position embedding (if it has one),
    # the blocks, and the convolution to the next stage.
    names = {"stages.0.downsample": "patch_embed.proj", "norm": "norm", "head": "head"}
    number = 0
    for stage, embedded in enumerate(_embedded_stages(keys, official)):
        if stage:
            names[f"stages.{stage}.downsample"] = f"network.{number}.proj"
            number += 1
        if embedded:
            embedding = f"stages.{stage}.position_embedding.embedding"
            names[embedding] = f"network.{number}.pos_embed"
            number += 1
        names[f"stages.{stage}.blocks"] = f"network.{number}"
        number += 1
    return names


def _embedded_stages(keys: Iterable[str], official: bool) -> list[bool]:
    """For each stage, whether it has a position embedding, from official keys or from our own."""
    keys = list(keys)
    if not official:
        embedding = "stages.{}.position_embedding.embedding"
        return [embedding.format(stage) in keys for stage in range(_count_stages(keys))]
    kinds = {
        int(match[1]): match[2]
        for key in keys
        if (match := re.match(r"network\.(\d+)\.(pos_embed|proj|)", key))
    }
    word = ""  # a letter per entry of ``network``: e(mbedding), b(locks) or p(rojection)
    for number in range(max(kinds, default=-1) + 1):
        # A missing entry follows from its position: after blocks comes a convolution.
        default = "proj" if word.endswith("b") else ""
        word += {"pos_embed": "e", "proj": "p", "": "b"}[kinds.get(number, default)]
    return ["e" in stage for stage in word.split("p")]


def _count_stages(keys: Iterable[str]) -> int:
    """The number of stages, from our own keys or timm's."""
    found = (re.match(r"stages\.(\d+)\.", key) for key in keys)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
