"""Sizes and cells of sweeps -> what their models cost, beside what the paper says they cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ablations.analysis import rows
from ablations.config import diff, naming
from ablations.config.resolve import preset_names, resolve
from ablations.config.schema import RunConfig
from ablations.config.sweep import SweepRun
from ablations.data import count_classes
from ablations.errors import ConfigError
from ablations.paper import matching, published
from ablations.paper.published import PaperRow
from ablations.tables.cells import number, signed
from ablations.tables.table import superscript
from ablations.text import escape
from ablations.training.cost import activation_bytes, at_paper_size, model_cost
from poolformer.config import SIZES, MetaFormerConfig

# What can be found out of the paper's earlier counts. The authors' word is in sail-sg/poolformer,
# issue 37 (2022-06-28); the exact counts of March 2022 are in open-mmlab/mmpretrain,
# configs/poolformer/metafile.yml; the rest is results/macs_by_counter.csv.
BEFORE = (
    "Paper v2: MACs of the paper's second version. Its authors counted them with a script of their "
    "own, which is not released, and changed to fvcore for v3 (sail-sg/poolformer, issue 37). No "
    "public counter that we tried gives them (scripts/macs_by_counter.py). They lie above fvcore's "
    "by an amount that grows with the width and hardly with the depth, so it is no operator of the "
    "blocks. The counts that mmpretrain published in between (S12: 1.871 G) with the stem "
    "convolution counted three more times round to them in all five sizes; why is not known. The "
    "attention hybrid's 2.7 lies above its 2.549 by as much as S12's 2.0 above its 1.823, within "
    "rounding. Those of S12, M36 and M48 are known from one third-party table."
)
# How far a count may lie from the paper's after the paper's rounding, in millions and billions.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Variant:
    """A model to be counted.

    Args:
        axis: The section of the paper's table that it belongs to.
        label: Its row there.
        config: The model, without drop path, which costs nothing.
        paper: The paper's row, if it has one of this very model.
    """

    axis: str
    label: str
    config: MetaFormerConfig
    paper: PaperRow | None


def models_to_count(
    recipe: str, cells: Iterable[SweepRun], overrides: Mapping[str, Any]
) -> list[Variant]:
    """The sizes of a recipe, then what cells of it change in the model; each model once.

    Raises:
        ConfigError: A size or a cell that cannot be built.
    """
    cells = list(cells)
    kept = overrides if cells else ()  # the cells have been looked at: one of them reads each
    base = resolve(recipe, overrides, None, kept, count_classes)
    flat_base = diff.flat_config(base.to_json())
    # A model that overrides change is none of the paper's, whatever row it resembles.
    plain = diff.flat_config(resolve(recipe).to_json())
    changed = {
        name: values
        for name, values in diff.changed_fields(plain, flat_base).items()
        if name == "data.image_size" or (name.startswith("model.") and name != "model.drop_path")
    }
    suffix = f" with {', '.join(naming.format_assignments(changed))}" if changed else ""
    found: dict[MetaFormerConfig, Variant] = {}

    def add(run: RunConfig, axis: str, label: str, paper: PaperRow | None) -> None:
        model = replace(run.model, drop_path=0.0)
        counterpart = at_paper_size(run)
        same = counterpart is not None and replace(counterpart, drop_path=0.0) == model
        known = paper if same and not changed else None
        found.setdefault(model, Variant(axis, label + suffix, model, known))

    for size in SIZES:
        if size in preset_names(recipe):
            paper = published.model_rows().get(size)
            named = published.SIZE_NAMES[size]
            name = named if recipe == "imagenet" else f"{size.upper()} of {recipe}"
            add(
                resolve(recipe, overrides, size, kept, count_classes),
                published.SIZE_AXIS,
                name,
                paper,
            )
    for cell in cells:
        flat = diff.flat_config(cell.config.to_json())
        own = {
            k: v for k, v in diff.changed_fields(flat_base, flat).items() if k.startswith("model.")
        }
        axis, label, row = matching.describe_variant(recipe, own, flat)
        add(cell.config, axis, label, row)
    return sorted(found.values(), key=_place)


def _place(variant: Variant) -> tuple[int, float]:
    """The sizes first, then the paper's order; what it lacks stays in the order of the files."""
    order = dict.fromkeys(["Model size", *rows.AXIS_ORDER])
    axis = list(order).index(variant.axis) if variant.axis in order else len(order)
    return axis, variant.paper.position if variant.paper else float("inf")


MOST_BLOCKS = 10_000


def check_memory(variant: Variant) -> None:
    """Refuse a model that this machine's memory does not hold, before any of it is built.

    Counted are the weights, and what one image takes between two layers, in float32: less than what
    counting takes, and in models that fit, far less than the memory.

    Raises:
        ConfigError: It is too large; names the model and both sizes.
    """
    model = variant.config
    numbers, width = 0.0, model.in_channels
    for depth, dim, side, mixer in zip(
        model.depths, model.dims, model.grids, model.mixers, strict=True
    ):
        kernel = model.stem_kernel if width == model.in_channels else model.down_kernel
        hidden = model.mlp_ratio * dim if model.channel_mlp else 0.0
        positions = side**2
        mixing = {
            "attention": 4 * dim**2 + positions**2 * dim / model.head_dim,
            "separable_conv": 4 * dim**2 + 2 * dim * positions,
            "random": positions**2,
            "spatial_fc": positions**2,
        }.get(mixer, dim)
        numbers += kernel**2 * width * dim + depth * (2 * dim * hidden + mixing)
        numbers += positions * (dim + hidden)
        width = dim
    needed = 4 * (numbers + model.in_channels * model.image_size**2 + width * model.num_classes)
    held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if sum(model.depths) > MOST_BLOCKS:
        raise ConfigError(
            f"{variant.label}: {sum(model.depths):,} blocks are more than the {MOST_BLOCKS:,} that "
            "`ablations profile` counts: take fewer in model.depths"
        )
    if needed > held:
        raise ConfigError(
            f"{variant.label}: its weights and one image take {needed / 1e9:.3g} GB or more, and "
            f"this machine has {held / 1e9:.3g} GB: take smaller model.dims or data.image_size"
        )


def cost_frame(
    models: Sequence[Variant], progress: Callable[[Sequence[Variant]], Iterable[Variant]] = iter
) -> pd.DataFrame:
    """A row a model, raw numbers: counts, bytes, and under ``paper_`` the published values.

    Args:
        models: What to count.
        progress: Wraps the sequence to show how far it is; a model takes seconds.

    Raises:
        ConfigError: A model that this machine's memory does not hold.
    """
    for variant in models:
        check_memory(variant)
    try:
        return pd.DataFrame([_row(variant) for variant in progress(models)])
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise ConfigError("this machine has too little memory to count these models") from error


def _row(variant: Variant) -> dict[str, object]:
    cost, paper = model_cost(variant.config), variant.paper
    row: dict[str, object] = {
        "ablation": variant.axis,
        "variant": variant.label,
        **cost,
        "activation_bytes": activation_bytes(variant.config),
        "paper_params_m": paper.params_m if paper else None,
        "paper_macs_g": paper.macs_g if paper else None,
        "paper_macs_before_g": paper.macs_v2_g if paper else None,
        "paper_frozen_params_m": paper.frozen_params_m if paper else None,
        "params_off_m": cost["params"] / 1e6 - paper.params_m if paper else None,
        "macs_off_g": cost["macs"] / 1e9 - paper.macs_g if paper else None,
    }
    off = [row["params_off_m"], row["macs_off_g"]]
    beyond = any(isinstance(by, float) and abs(by) > TOLERANCE + 1e-9 for by in off)
    row["note"] = paper.note if paper and beyond else ""
    return row


def cost_markdown(frame: pd.DataFrame) -> str:
    """A GitHub table of ``counted`` with its footnotes."""
    notes: list[str] = []
    small = frame["macs"].max() < 1e8  # an embedded recipe's models: millions, not billions
    unit, letter = (1e6, "M") if small else (1e9, "G")
    lines, before = [], None
    for _, row in frame.iterrows():
        mark = ""
        if row["note"]:
            notes.append(f"{row['variant']}: {row['note']}.")
            mark = " " + superscript(len(notes))
        lines.append(
            {
                "Ablation": row["ablation"] if row["ablation"] != before else "",
                "Variant": row["variant"] + mark,
                "Params (M)": number(row["params"], 1e6, 3),
                "Paper params": number(row["paper_params_m"], 1, 1),
                "Δ params": signed(row["params_off_m"], 3),
                "Frozen (M)": number(row["frozen_params"], 1e6, 3),
                "Paper frozen": number(row["paper_frozen_params_m"], 1, 0),
                f"MACs ({letter})": number(row["macs"], unit, 3),
                "Paper MACs": number(row["paper_macs_g"], 1, 1),
                "Δ MACs": signed(row["macs_off_g"], 3),
                "Paper v2 MACs": number(row["paper_macs_before_g"], 1, 1),
                "Activations (MB)": number(row["activation_bytes"], 1e6, 2 if small else 1),
            }
        )
        before = row["ablation"]
    shown = pd.DataFrame(lines)
    shown = shown.loc[:, (shown != "–").any()]  # columns with nothing in them say nothing
    align = ["left", "left", *["right"] * (shown.shape[1] - 2)]
    table = shown.map(escape.markdown).to_markdown(
        index=False, colalign=align, disable_numparse=True
    )
    foot = [f"{superscript(i)} {note}" for i, note in enumerate(notes, start=1)]
    told = [f"- {escape.markdown(line, cell=False)}" for line in [*foot, *_footer(frame)]]
    return f"{table}\n\n" + "\n".join(told) + "\n"


def _footer(frame: pd.DataFrame) -> Iterator[str]:
    sides = " and ".join(f"{side}x{side}" for side in sorted(set(frame["image_size"])))
    yield (
        f"A picture is {sides} pixels. MACs are of one picture, counted by fvcore; activations are "
        "what one training picture keeps for the backward pass in float32 (1 MB = 10⁶ bytes)."
    )
    if frame["paper_params_m"].notna().any():
        yield (
            "Paper: arXiv 2111.11418 v3, rounded as printed; Δ is ours minus the paper's, at most "
            f"{TOLERANCE} where its rounding is right."
        )
    if frame["paper_macs_before_g"].notna().any():
        yield BEFORE
