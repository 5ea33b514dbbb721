"""`ablations convert`: write weights in another layout: the paper's, timm's or ours.

Write the weights of a file in another layout. The layout of the source is detected; the target's
suffix sets its format: .pt, .pth, .tar, .bin or .safetensors.
"""

from __future__ import annotations

import argparse

from ablations.cli.options import output_argument, path_argument
from ablations.cli.parser import Parser
from ablations.console import screen
from ablations.errors import ConfigError


def add(command: Parser) -> None:
    """Declare the flags."""
    command.add_argument("source", type=path_argument, help="a file of weights in any layout")
    command.add_argument(
        "target", type=output_argument, help="the file to write; it must not exist"
    )
    command.add_argument(
        "--to",
        required=True,
        choices=["official", "timm", "own"],
        metavar="LAYOUT",
        help="the layout to write: official (the paper's), timm or own",
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert, and print the layout of the source."""
    source, target = arguments.source, arguments.target
    if target.exists():
        raise ConfigError(f"{target} exists already: choose another name")

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
    model = names[0] if names else "no named model"
    others = f" (or {len(names) - 1} others)" if names[1:] else ""
    screen.out(f"{source}: {layout} layout, {len(weights)} tensors, {model}{others}")
    screen.out(f"{target}: {arguments.to} layout")
    if (layout == "timm") != (arguments.to == "timm"):
        screen.out(
            "timm normalizes the mean over positions, the paper's code averages the normalized "
            "positions: their logits differ a little for the same weights"
        )
    return 0
