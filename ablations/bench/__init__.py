"""Benchmarks of the lab itself: each time against a limit, or against a peer in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ablations.bench.image_simulation import bench_images
from ablations.bench.looks_simulation import bench_looks
from ablations.bench.runner import bench_runner
from ablations.bench.simulation import bench_statistics
from ablations.bench.table import bench_table
from ablations.bench.timing import BenchResult, Report
from ablations.bench.tracker import bench_tracker
from ablations.config.schema import RunConfig

# Name -> benchmark; its arguments are a run, the number of rounds, and where to report progress.
BENCHES: Mapping[str, Callable[[RunConfig, int, Report], BenchResult]] = {
    "table": bench_table,
    "runner": bench_runner,
    "tracker": bench_tracker,
    "statistics": bench_statistics,
    "images": bench_images,
    "looks": bench_looks,
}

__all__ = ["BENCHES", "BenchResult"]
