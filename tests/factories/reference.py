"""Records of ImageNet-1K, of sizes and of other tasks, and how their tables are read."""

from __future__ import annotations

import csv
import io
import re

from ablations.tables import Table, render
from tests.factories.records import BASE, record

IMAGES = (1_281_167, 50_000)


def big(seed=0, top1=77.0, recipe="imagenet", classes=1000, images=IMAGES, **overrides):
    """A run on ImageNet-1K that was never trained."""
    run = record(seed, top1, recipe=recipe, **overrides)
    run.data.update(classes=classes, train=images[0], val=images[1])
    side = run.config["data"]["image_size"]
    run.cost.update(params=11_915_176, macs=1_822_678_528, image_size=side)
    return run


def measured(metrics, seed=0, params=21_700_000, **overrides):
    """A run of another task, with last values in percent."""
    run = record(seed, None, recipe="imagenet", **overrides)
    run.metrics.update({name: {"last": value, "best": 99.0} for name, value in metrics.items()})
    run.cost.update(params=params)
    return run


def names(table: Table) -> list[str]:
    return list(table.frame[table.text_columns[-1]])


def plain(name: str) -> str:
    """Without the marks of footnotes."""
    return re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹ ]+$", "", name)


def csv_rows(records, of: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(records, "csv", of=of))))


def line(table: Table, start: str) -> dict[str, str]:
    """The row of a name."""
    (found,) = [row for row in table.frame.to_dict("records") if start in row.values()]
    return found


SIZED = [
    *BASE,  # 80, 81, 83
    *(record(seed, top1, preset="s24") for seed, top1 in enumerate((82.0, 82.0, 86.0))),
    record(0, 84.0, preset="m48"),
]
