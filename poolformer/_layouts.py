"""Names of weights: the paper's, timm's and our own.

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

from torch import Tensor

from poolformer.config import unknown_name
from poolformer.errors import CheckpointError

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


def detect_layout(weights: Mapping[str, Tensor]) -> str:
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


def convert_layout(
    weights: Mapping[str, Tensor], to: str, strict: bool = True
) -> dict[str, Tensor]:
    """The same tensors under the names of another layout; there and back is exact.

    Args:
        weights: Of any layout.
        to: own, official or timm.
        strict: Whether a key that has no name in the other layout is an error; else it is kept.

    Raises:
        CheckpointError: An unknown layout, or keys that no MetaFormer of ours or ``to`` has a name
            for.
    """
    if to not in LAYOUTS:
        raise CheckpointError(unknown_name("layout", to, LAYOUTS))
    layout = detect_layout(weights)
    own = weights if layout == "own" else _renamed(weights, layout, strict, back=True)
    return dict(own) if to == "own" else _renamed(own, to, strict)


def _renamed(
    weights: Mapping[str, Tensor], layout: str, strict: bool, back: bool = False
) -> dict[str, Tensor]:
    """Ours under the names of a layout, or ``back``: those of a layout under ours."""
    outside = _places(weights, layout, back)
    inside = BLOCK[layout]
    if back:
        outside = {theirs: ours for ours, theirs in outside.items()}
        inside = {theirs: ours for ours, theirs in inside.items()}
    renamed, nameless = {}, []
    for key, tensor in weights.items():
        name = _other_name(key, outside, inside)
        if name is None:
            nameless.append(key)
        if MLP.search(key):
            if back and tensor.shape[2:] == (1, 1):
                tensor = tensor.flatten(1)
            elif not back and tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        renamed[name or key] = tensor
    if nameless and strict:
        who = "a MetaFormer of ours" if back else f"the {layout} layout"
        more = f" and {len(nameless) - 4} more" if nameless[4:] else ""
        raise CheckpointError(f"{who} has no name for {', '.join(nameless[:4])}{more}")
    return renamed


def _other_name(key: str, outside: Mapping[str, str], inside: Mapping[str, str]) -> str | None:
    """The key's name by two tables, for what stands outside the blocks and for what is inside."""
    place = _prefix(key, outside)
    if place is None:
        return None
    rest = key.removeprefix(place)
    if block := re.match(r"\.(\d+)\.(.+)", rest):
        part = _prefix(block[2], inside)
        if part is None:
            return None
        rest = f".{block[1]}.{inside[part]}{block[2].removeprefix(part)}"
    return outside[place] + rest


def _prefix(key: str, names: Iterable[str]) -> str | None:
    """The name that is ``key`` or the longest whole number of its dotted parts."""
    found = (name for name in names if key == name or key.startswith(name + "."))
    return max(found, key=len, default=None)


def _places(keys: Iterable[str], layout: str, back: bool) -> dict[str, str]:
    """What stands outside the blocks: ours -> theirs, for the stages that these keys have."""
    if layout == "timm":
        stages = range(_stages(keys))
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
        word = ""
        for number in range(max(kinds, default=-1) + 1):
            # What is missing follows from its place: after blocks comes a convolution.
            absent = "proj" if word.endswith("b") else ""
            word += {"pos_embed": "e", "proj": "p", "": "b"}[kinds.get(number, absent)]
        return ["e" in stage for stage in word.split("p")]
    embedding = "stages.{}.position_embedding.embedding"
    return [embedding.format(stage) in keys for stage in range(_stages(keys))]


def _stages(keys: Iterable[str]) -> int:
    """How many stages there are, by our keys or timm's."""
    found = (re.match(r"stages\.(\d+)\.", key) for key in keys)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
