"""What the models of a recipe and of sweeps cost, beside what the paper says they cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ablations.analysis import rows
from ablations.config import diff, naming
from ablations.config.resolve import preset_names, resolve
from ablations.config.schema import RunConfig
from ablations.config.sweep import SweepRun
from ablations.data import count_classes
from ablations.errors import ConfigError
from ablations.paper import matching, published
from ablations.paper.published import PaperRow
from ablations.tables import cells
from ablations.tables.csv_values import fields_of
from ablations.tables.table import Column, RowNotes, Table, Values, word_columns
from ablations.training.cost import activation_bytes, at_paper_size, model_cost
from poolformer.config import MetaFormerConfig

# The counts of the paper's second version lie above fvcore's by an amount that grows with the width
# and hardly with the depth, so no operator of the blocks explains them. Their authors say in
# sail-sg/poolformer, issue 37 (2022-06-28), that they changed to fvcore for v3. The exact counts of
# March 2022 are in open-mmlab/mmpretrain, configs/poolformer/metafile.yml (S12: 1.871 G): with the
# stem convolution counted three more times, they round to v2's in all five sizes; why is not known.
# The attention hybrid's 2.7 lies above its 2.549 by as much as S12's 2.0 above its 1.823, within
# rounding. See scripts/macs_by_counter.py and results/macs_by_counter.csv.
PAPER_V2_NOTE = (
    "Paper v2: MACs of the paper's second version. Its authors counted them by a script that is "
    "not released (sail-sg/poolformer, issue 37); no public counter that we tried gives them "
    "(scripts/macs_by_counter.py). Those of S12, M36 and M48 are from one third-party table."
)
# The largest difference from the paper's rounded number, in millions and billions.
TOLERANCE = 0.05
MAX_BLOCKS = 10_000


@dataclass(frozen=True)
class Model:
    """A model to count.

    Args:
        axis: The section of the paper's table that it belongs to.
        label: Its row there.
        config: The model, without drop path, which costs nothing.
        paper: The paper's row of this very model, if it has one.
    """

    axis: str
    label: str
    config: MetaFormerConfig
    paper: PaperRow | None


def models_to_count(
    recipe: str, sweep_runs: Iterable[SweepRun], overrides: Mapping[str, Any]
) -> list[Model]:
    """The sizes of a recipe, then the models of sweeps; each model once.

    Raises:
        ConfigError: A size or a run of a sweep cannot be built.
    """
    sweep_runs = list(sweep_runs)
    kept = overrides if sweep_runs else ()  # expanding the sweep has checked that a run reads each
    base = diff.flat_config(resolve(recipe, overrides, None, kept, count_classes).to_json())
    # With other overrides than its training's, no model is the paper's, whatever row it resembles.
    changed = {
        name: values
        for name, values in diff.changed_fields(
            diff.flat_config(resolve(recipe).to_json()), base
        ).items()
        if name == "data.image_size" or (name.startswith("model.") and name != "model.drop_path")
    }
    suffix = f" with {', '.join(naming.format_assignments(changed))}" if changed else ""
    models: dict[MetaFormerConfig, Model] = {}

    def add(run: RunConfig, axis: str, label: str, paper: PaperRow | None) -> None:
        config, paper_run = replace(run.model, drop_path=0.0), at_paper_size(run)
        same = paper_run is not None and replace(paper_run, drop_path=0.0) == config
        known = paper if same and not changed else None
        models.setdefault(config, Model(axis, label + suffix, config, known))

    for size, name in published.SIZE_NAMES.items():
        if size in preset_names(recipe):
            run = resolve(recipe, overrides, size, kept, count_classes)
            label = name if recipe == "imagenet" else f"{size.upper()} of {recipe}"
            add(run, published.SIZE_AXIS, label, published.model_rows().get(size))
    for sweep_run in sweep_runs:
        flat = diff.flat_config(sweep_run.config.to_json())
        own = {k: v for k, v in diff.changed_fields(base, flat).items() if k.startswith("model.")}
        add(sweep_run.config, *matching.describe_variant(recipe, own, flat))
    return sorted(models.values(), key=_position)


def _position(model: Model) -> tuple[int, float]:
    """The sizes first, then the paper's order; models that it lacks keep the order of the files."""
    order = list(dict.fromkeys([published.SIZE_AXIS, *rows.AXIS_ORDER]))
    axis = order.index(model.axis) if model.axis in order else len(order)
    return axis, model.paper.position if model.paper else float("inf")


def _check_memory(model: Model) -> None:
    """Refuse a model that this machine cannot hold, before any of it is built.

    The estimate is of the weights and of the activations of one image between two layers, in
    float32: less than what counting takes.

    Raises:
        ConfigError: It is too large; the message has the model and both sizes.
    """
    config = model.config
    numbers, width = 0.0, config.in_channels
    stages = zip(config.depths, config.dims, config.grids, config.mixers, strict=True)
    for depth, dim, side, mixer in stages:
        kernel = config.stem_kernel if width == config.in_channels else config.down_kernel
        hidden = config.mlp_ratio * dim if config.channel_mlp else 0.0
        positions = side**2
        mixing = {
            "attention": 4 * dim**2 + positions**2 * dim / config.head_dim,
            "separable_conv": 4 * dim**2 + 2 * dim * positions,
            "random": positions**2,
            "spatial_fc": positions**2,
        }.get(mixer, dim)
        numbers += kernel**2 * width * dim + depth * (2 * dim * hidden + mixing)
        numbers += positions * (dim + hidden)
        width = dim
    needed = 4 * (numbers + config.in_channels * config.image_size**2 + width * config.num_classes)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if sum(config.depths) > MAX_BLOCKS:
        raise ConfigError(
            f"{model.label}: {sum(config.depths):,} blocks are more than the {MAX_BLOCKS:,} that "
            "`ablations profile` counts: take fewer in model.depths"
        )
    if needed > memory:
        raise ConfigError(
            f"{model.label}: its weights and one image take {needed / 1e9:.3g} GB or more, and "
            f"this machine has {memory / 1e9:.3g} GB: take smaller model.dims or data.image_size"
        )


def cost_table(
    models: Sequence[Model], progress: Callable[[Sequence[Model]], Iterable[Model]] = iter
) -> Table:
    """A row a model. Its values: counts, bytes, and under ``paper_`` the published ones.

    Args:
        models: What to count.
        progress: Wraps the sequence to show the progress; a model takes seconds.

    Raises:
        ConfigError: This machine's memory cannot hold a model.
    """
    for model in models:
        _check_memory(model)
    table = Table("", section="Ablation")
    try:
        table.lines = [_line(model, table.row_notes) for model in progress(models)]
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise ConfigError("this machine has too little memory to count these models") from error
    # An embedded recipe's models: millions, not billions.
    small = max(line["macs"] for line in table.lines) < 1e8
    columns = _columns("M" if small else "G", 2 if small else 1)
    table.columns = [c for c in columns if set(c.texts(table.lines)) != {cells.EMPTY}]
    table.footnotes = _footnotes(table.lines)
    return table


def _line(model: Model, notes: RowNotes) -> Values:
    cost, paper = model_cost(model.config), model.paper
    params_off = cost["params"] / 1e6 - paper.params_m if paper else None
    macs_off = cost["macs"] / 1e9 - paper.macs_g if paper else None
    differs = any(off and abs(off) > TOLERANCE + 1e-9 for off in (params_off, macs_off))
    note = paper.note if paper and differs else ""
    return {
        "ablation": model.axis,
        "variant": model.label,
        "_label": model.label + notes.mark(f"{model.label}: {note}." if note else ""),
        **cost,
        "activation_bytes": activation_bytes(model.config),
        **fields_of(paper, "params_m", "macs_g", prefix="paper_"),
        "paper_macs_before_g": paper.macs_v2_g if paper else None,
        **fields_of(paper, "frozen_params_m", prefix="paper_"),
        "params_off_m": params_off,
        "macs_off_g": macs_off,
        "note": note,
    }


def _columns(macs_unit: str, activation_digits: int) -> list[Column]:
    count = partial(cells.number, unit=1e6, digits=3)
    signed = partial(cells.signed, digits=3)
    activations = partial(count, digits=activation_digits)
    return [
        *word_columns(ablation="Ablation", _label="Variant"),
        Column("Params (M)", "params", count),
        Column("Paper params", "paper_params_m", cells.number),
        Column("Δ params", "params_off_m", signed),
        Column("Frozen (M)", "frozen_params", count),
        Column("Paper frozen", "paper_frozen_params_m", partial(cells.number, digits=0)),
        Column(f"MACs ({macs_unit})", "macs", partial(count, unit=cells.UNITS[macs_unit])),
        Column("Paper MACs", "paper_macs_g", cells.number),
        Column("Δ MACs", "macs_off_g", signed),
        Column("Paper v2 MACs", "paper_macs_before_g", cells.number),
        Column("Activations (MB)", "activation_bytes", activations),
    ]


def _footnotes(lines: Sequence[Values]) -> list[str]:
    sides = " and ".join(
        f"{side}x{side}" for side in sorted({line["image_size"] for line in lines})
    )
    notes = [
        f"An image has {sides} pixels. MACs are of one image, counted by fvcore; activations are "
        "what one training image keeps for the backward pass in float32 (1 MB = 10⁶ bytes)."
    ]
    if any(line["paper_params_m"] for line in lines):
        notes.append(
            "Paper: arXiv 2111.11418 v3, rounded as printed; Δ is ours minus the paper's, at most "
            f"{TOLERANCE} if only the rounding differs."
        )
    return notes + [PAPER_V2_NOTE] * any(line["paper_macs_before_g"] for line in lines)
