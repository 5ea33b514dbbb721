"""`ablations convert`: weights from one layout to another."""

from __future__ import annotations

import argparse
from typing import Any

from ablations.cli.options import location, refuse_fields
from ablations.console import screen
from ablations.errors import ConfigError


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "convert",
        help="write weights in another layout: the paper's, timm's or ours",
        description="Write the weights of a file in another layout. The layout of the source is "
        "detected; the target's suffix sets its format: .pt, .pth, .tar, .bin or .safetensors.",
    )
    command.add_argument("source", type=location, help="a file of weights in any layout")
    command.add_argument("target", type=location, help="the file to write; it must not exist")
    command.add_argument(
        "--to",
        required=True,
        choices=["official", "timm", "own"],
        metavar="LAYOUT",
        help="the layout to write: official (the paper's), timm or own",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Convert, and report the layout that was found."""
    refuse_fields("convert", fields_set)
    source, target = arguments.source, arguments.target
    if target.exists():
        raise ConfigError(f"{target} exists already: choose another name")
    if not target.parent.is_dir():
        raise ConfigError(f"{target} cannot be written: there is no folder {target.parent}")

    from ablations.errors import CheckpointError
    from ablations.machine import files
    from poolformer.checkpoints import (
        convert_layout,
        detect_layout,
        encode_weights,
        matching_models,
        read_weights,
    )

    weights = read_weights(source)
    try:
        layout, renamed = detect_layout(weights), convert_layout(weights, arguments.to)
        names = matching_models(weights, source)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {source}: {error}") from error
    content = encode_weights(renamed, target)
    with files.atomic_write(target) as file:
        file.write(content)
    model = names[0] if names else "no model by name"
    more = f" (or one of {len(names) - 1} more)" if names[1:] else ""
    screen.out(f"{source}: {layout} layout, {len(weights)} tensors, {model}{more}")
    screen.out(f"{target}: {arguments.to} layout")
    if (layout == "timm") != (arguments.to == "timm"):
        screen.out(
            "timm's code norms the mean over positions, the paper's takes the mean of the norm: "
            "their logits differ a little on the same weights"
        )
    return 0
