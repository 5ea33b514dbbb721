"""Compute the widths of the size-matched baselines, and print the presets of every recipe.

    python scripts/size_matched.py

The rule: widen all stages of the baseline by one factor, and round each width to a multiple of an
eighth of the first stage's width (8 on ImageNet, which is fast on GPUs). Take the shape whose MACs,
by fvcore, are closest to the row's. The MACs are counted with the row's norm, so that only the
mixer differs. The control without the row's other changes has the same shape, so that the two
differ by these changes only. Where the baseline's own widths are within 3%, they stay. Depths, drop
path and LayerScale are the baseline's. Takes a minute on a CPU.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import replace

from ablations.analysis.controls import macs_match
from ablations.config.resolve import recipe_names, resolve
from ablations.training.cost import model_cost
from poolformer import MetaFormerConfig

# Named after their row. A recipe_size also has the row's other changes; ppff has none in the model.
PRESETS = ["pppa_size", "pppa_recipe_size", "ppaa_size", "ppaa_recipe_size", "ppff_size"]
WIDEST = 2  # the largest factor


def macs(model: MetaFormerConfig) -> int:
    """MACs per image."""
    return model_cost(model)["macs"]


def closest(
    dims: Sequence[int], macs_of: Callable[[tuple[int, ...]], int], target: int
) -> tuple[int, ...]:
    """The widened ``dims`` whose MACs are closest to ``target``."""
    unit = dims[0] // 8
    shapes = list(
        dict.fromkeys(
            tuple(round(factor * dim / (1000 * unit)) * unit for dim in dims)
            for factor in range(1000, WIDEST * 1000 + 1)
        )
    )
    above = bisect.bisect_left(shapes, target, key=macs_of)
    return min(shapes[max(above - 1, 0) : above + 1], key=lambda dims: abs(macs_of(dims) - target))


def matched(recipe: str, preset: str) -> tuple[MetaFormerConfig, MetaFormerConfig]:
    """The model of a preset in a recipe, and the model of the row that it matches."""
    row_name, _, rest = preset.partition("_")
    base, row = resolve(recipe).model, resolve(recipe, preset=row_name).model
    pooling = replace(row, token_mixers="pool", position_embedding=None)
    start = base if rest == "size" else pooling
    if macs_match(macs(start), macs(row)):
        return start, row
    dims = closest(base.dims, lambda dims: macs(replace(pooling, dims=dims)), macs(row))
    return replace(start, dims=dims), row


def main() -> None:
    """Compute and print the presets."""
    for recipe in recipe_names():
        print(f"# {recipe}.yaml")
        for preset in PRESETS:
            model, row = matched(recipe, preset)
            off = macs(model) / macs(row) - 1
            line = f"{preset}: {{model.dims: {list(model.dims)}}}"
            print(f"  {line} # {macs(model) / 1e6:.3f} M MACs, {off:+.2%}", flush=True)


if __name__ == "__main__":
    main()
