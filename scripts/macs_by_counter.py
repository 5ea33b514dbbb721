"""Does any public counter give the MACs of the paper's second version (2.0 G for S12)?

Count the paper's sizes and its attention hybrid at 224x224 with several counters, and print CSV:

    uv pip install --no-deps --target counters thop==0.1.1.post2209072238 \
        ptflops==0.7.5 torchprofile==0.1.0
    PYTHONPATH=counters python scripts/macs_by_counter.py > results/macs_by_counter.csv

Takes forty seconds on a CPU. The last rows are arithmetic: the exact counts that
open-mmlab/mmpretrain published for the sizes in March 2022 (configs/poolformer/metafile.yml), alone
and with three times the stem convolution added, and the numbers of the second version.
"""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ablations.paper import published
from ablations.training.cost import macs
from poolformer import MODELS, MetaFormer

NAMES = [name for name in MODELS if name.startswith("poolformer_") and name.count("_") == 1]
HYBRID = "metaformer_ppaa_s12_224"
IMAGE = torch.zeros(1, 3, 224, 224)
METAFILE = [1871399424, 3510411008, 5149422592, 8960175744, 11801805696]


def by_thop(model: nn.Module) -> float:
    """Count with hooks on modules."""
    from thop import profile

    return float(profile(model, inputs=(IMAGE,), verbose=False)[0])


def by_ptflops(model: nn.Module) -> float:
    """Count with hooks on modules and functions."""
    from ptflops import get_model_complexity_info

    count, _ = get_model_complexity_info(
        model, (3, 224, 224), as_strings=False, print_per_layer_stat=False, verbose=False
    )
    return float(count)


def by_torchprofile(model: nn.Module) -> float:
    """Count in a traced graph."""
    from torchprofile import profile_macs

    return float(profile_macs(model, IMAGE))


def by_torch(model: nn.Module) -> float:
    """Torch's own counter of floating-point operations, two per MAC."""
    with FlopCounterMode(display=False) as counter:
        model(IMAGE)
    return counter.get_total_flops() / 2


COUNTERS: dict[str, Callable[[nn.Module], float]] = {
    "fvcore with this project's rules": lambda model: macs(model, 224, 3),
    "thop": by_thop,
    "ptflops": by_ptflops,
    "torchprofile": by_torchprofile,
    "torch.utils.flop_counter": by_torch,
}


def build(name: str) -> nn.Module:
    """The model, its attention written as plain products, which every counter knows."""
    model = MetaFormer(MODELS[name]).eval()
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return model


def main() -> None:
    """Count and print, in G."""
    warnings.simplefilter("ignore")
    write = csv.writer(sys.stdout, lineterminator="\n").writerow
    write(["counter", *NAMES, HYBRID])
    for counter, count in COUNTERS.items():
        found = []
        for name in (*NAMES, HYBRID):
            with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
                found.append(f"{count(build(name)) / 1e9:.3f}")
        write([counter, *found])
    stems = [56 * 56 * 7 * 7 * 3 * MODELS[name].dims[0] for name in NAMES]
    write(["mmpretrain metafile", *(f"{count / 1e9:.3f}" for count in METAFILE), ""])
    more = [f"{(count + 3 * stem) / 1e9:.3f}" for count, stem in zip(METAFILE, stems, strict=True)]
    write(["mmpretrain metafile + 3 stems", *more, ""])
    sizes = [row.macs_v2_g for row in published.model_rows().values()]
    hybrid = published.ablation_rows()["[Pool,Pool,Attention,Attention]"].macs_v2_g
    write(["paper v2", *sizes, hybrid])


if __name__ == "__main__":
    main()
