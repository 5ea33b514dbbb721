"""`ablations plan`: its numbers add up, failures are reported, and --check compares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ablations import data
from ablations.analysis import stats
from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.planning import probe_variants
from ablations.planning.plan import complaints, disk_space, wall_seconds
from ablations.planning.plan_file import PLAN_FILE, read_plan, write_plan
from ablations.planning.probe import Measurement
from ablations.planning.variants import PlannedVariant
from ablations.store import records
from ablations.store.records import Record
from ablations.text.phrases import format_duration
from tests.factories.configs import TINY_FLAGS
from tests.factories.plans import CPU, EXPECTED, with_timing
from tests.factories.processes import run
from tests.factories.records import BASE

SWEEP = """
method: grid
parameters:
  model.pool_size: {values: [3, 5]}
  seed: {values: [0, 1]}
"""
MIXERS = """
import os, signal
from torch import nn
from poolformer import register_mixer

class Mixer(nn.Module):
    def __init__(self, config, stage):
        super().__init__()

@register_mixer("broken")
class Broken(Mixer):
    def forward(self, x):
        raise ValueError("this mixer is broken")

@register_mixer("crashing")
class Crashing(Mixer):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def planned(capsys, *arguments: str, code: int = 0) -> dict:
    assert main(["plan", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of four runs, one of them done."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "pool.yaml").write_text(SWEEP)
    arguments = ["train", *TINY_FLAGS, "--model.pool_size=5", "--seed=1", "--results"]
    assert main([*arguments, str(folder / "runs")]) == 0
    return folder


@pytest.mark.slow
def test_a_study_is_planned_run_and_checked(folder, capsys):
    results = folder / "runs"
    arguments = [str(folder / "pool.yaml"), *TINY_FLAGS, "--results", str(results)]
    before = {path for path in folder.rglob("*") if path.is_file()}
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    plan = planned(capsys, *arguments, "--std=0.4", "--workers=2")
    assert {path for path in folder.rglob("*") if path.is_file()} - before == {results / PLAN_FILE}
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)

    base, five = plan["variants"]
    assert [each["variant"] for each in (base, five)] == ["Baseline", "Pooling size 3 -> 5"]
    assert [each["done"] for each in (base, five)] == [0, 1]
    assert (plan["cells"], plan["todo"], plan["cells_at_once"]) == (4, 3, 2)
    for each in (base, five):
        assert each["steps"] == 8000 // 250
        train = 2 * each["steps"] * each["step_seconds"]
        assert each["train_seconds"] == pytest.approx(train)
        assert each["validation_seconds"] == pytest.approx(2 * 2000 * each["val_picture_seconds"])
        seconds = each["train_seconds"] + each["validation_seconds"]
        assert each["cell_hours"] == pytest.approx(seconds / 3600)
        assert each["device_hours"] == pytest.approx(each["todo"] * seconds / 3600)
        assert each["loading"]
        record = records.find_record(results, five["runs"][1])
        assert {name: each[name] for name in ("params", "macs")} == {
            name: record.cost[name] for name in ("params", "macs")
        }
    hours = [each["cell_hours"] for each in (base, five)]
    assert plan["device_hours"] == pytest.approx(2 * hours[0] + hours[1])
    # Two start; the worker that is free first takes the baseline's second seed.
    assert plan["wall_hours"] == pytest.approx(min(hours) + hours[0])
    kept = [each["kept_bytes"] for each in (base, five)]
    running = sum(2 * each["checkpoint_bytes"] for each in (base, base))
    needed = {"kept_bytes": 2 * kept[0] + kept[1], "running_bytes": running}
    assert {name: plan["disk"][name] for name in needed} == needed
    assert plan["disk"]["needed_bytes"] == sum(needed.values())
    assert plan["minimum_effect"] == [
        {
            "seeds": 2,
            "variants": 2,
            "in_std": stats.minimum_effect(1.0, 2),
            "points": stats.minimum_effect(0.4, 2),
        }
    ]

    expected = read_plan(results)
    assert set(expected) == {*base["runs"], five["runs"][0]}
    assert expected[base["runs"][1]].train_seconds == base["train_seconds"]

    assert main(["run", *arguments, "--workers=1"]) == 0
    capsys.readouterr()
    assert main(["plan", "--check", str(results), "--json"]) == 0
    *_, whole = json.loads(capsys.readouterr().out)
    took = {
        run_id: records.find_record(results, run_id).timing["epoch_seconds"] for run_id in expected
    }
    ratios = sorted(took[run_id] / each.seconds for run_id, each in expected.items())
    assert (whole["compared"], whole["not_compared"]) == (3, {})
    assert [whole[name] for name in ("ratio_low", "ratio", "ratio_high")] == pytest.approx(ratios)
    assert whole["took_seconds"] == pytest.approx(sum(took.values()))

    # Finished runs need no probe, and their expected times stay in the plan.
    again = planned(capsys, *arguments)
    assert (again["todo"], again["device_hours"], again["disk"]["needed_bytes"]) == (0, 0, 0)
    assert [each["params"] for each in again["variants"]] == [base["params"], five["params"]]
    assert again["std_source"].startswith("pooled over 1 row")
    assert read_plan(results) == expected
    assert main(["plan", *arguments]) == 0
    assert "4 runs of 2 variants: 4 done, 0 to do." in capsys.readouterr().out


@pytest.mark.slow
def test_variants_that_cannot_be_probed_are_reported(tmp_path):
    """In a process of its own, because it registers mixers."""
    (tmp_path / "odd_mixers.py").write_text(MIXERS)
    (tmp_path / "odd.yaml").write_text(
        "method: grid\nparameters:\n  model.token_mixers: {values: [pool, broken, crashing]}\n"
    )
    arguments = ["plan", "odd.yaml", "--plugins=odd_mixers", "--workers=1", *TINY_FLAGS, "--json"]
    done = run("ablations", *arguments, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    plan = json.loads(done.stdout)
    failures = {each["variant"]: each["failure"] for each in plan["variants"]}
    assert failures["Baseline"] is None
    assert failures["Pooling -> broken"].startswith("error: ")
    assert failures["Pooling -> broken"].endswith("ValueError: this mixer is broken")
    assert failures["Pooling -> crashing"].startswith("killed: its process ended")
    assert plan["device_hours"] == plan["variants"][0]["device_hours"] > 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("not in the plan: ")]
    assert len(lines) == 2
    assert all(line.startswith("not in the plan: Pooling -> ") for line in lines)
    assert list(read_plan(tmp_path / "runs")) == plan["variants"][0]["runs"]


def variant_with_probe(runs, seconds, checkpoint=0, weights=0) -> PlannedVariant:
    """A variant whose runs take so many seconds: 2 epochs of one step of 250 images."""
    measured = Measurement({}, CPU, 1, seconds / 500, 0.0, weights, checkpoint, True, 1.0)
    return PlannedVariant("Baseline", "Baseline", {}, runs=runs, train=250, val=9, probe=measured)


def test_a_free_worker_takes_the_next_run_and_the_largest_checkpoints_count(tiny):
    runs = [tiny(seed=seed) for seed in range(4)]
    found = [
        variant_with_probe(runs[:1], 5.0, 70),
        variant_with_probe(runs[1:3], 2.0, 50),
        variant_with_probe(runs[3:], 4.0, 60),
    ]
    # With two: 5, and 2 + 2 + 4.
    assert [wall_seconds(found, runs, many) for many in (1, 2, 9)] == pytest.approx([13, 8, 5])
    assert disk_space(found, 3, 0)["running_bytes"] == 2 * (70 + 60 + 50)


def test_a_disk_that_is_too_small_is_reported(tiny):
    found = [variant_with_probe([tiny()], 1.0, 10**9, 10**9)]
    message = complaints(found, disk_space(found, 1, 10**9), ["no.json is not a record"])
    assert message == [
        "the disk is too small: 3.0 GB are needed, 1.0 GB are free",
        "left out: no.json is not a record",
    ]
    assert not complaints(found, disk_space(found, 1, 4 * 10**9), [])


@pytest.fixture
def instant_probes(monkeypatch):
    """Probes that take no time, with fixed results."""

    def probes(jobs, at_once, gpus):
        for name, (_, images) in jobs.items():
            cost = {"params": 10**6, "frozen_params": 0, "macs": 10**9}
            yield name, Measurement(cost, CPU, 4, 0.5, 0.1, 1000, 3000, images is not None, 0.5)

    monkeypatch.setattr(probe_variants, "measure_in_processes", probes)


def test_the_notes_below_the_table_say_what_the_estimate_covers(instant_probes, tmp_path, capsys):
    arguments = ["sweeps/pool_size.yaml", "--results", str(tmp_path), "--workers=3", "--seeds=4"]
    assert main(["plan", *arguments, "--recipe=imagenet", "--system.accelerator=cpu"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    # 310 epochs of 312 steps of 4096 images of 0.5 s, and of 50,000 images of 0.1 s.
    hours = 310 * (312 * 4096 * 0.5 + 50_000 * 0.1) / 3600
    assert format_duration(3600 * hours) in out  # years
    assert "Measured on this machine's cpu (Xeon), " in out
    assert "1 thread per run: it does not apply to a GPU" in out
    assert "Loading the images is not included" in out
    assert "the probes used smaller ones, and their times are scaled up" in out
    assert "The machine is busy: the probes had 50% of their cores" in out
    assert f"would take about {format_duration(3600 * 4 * hours / 2)} of device time" in out
    assert "with 1 seed: none" in out
    assert main(["plan", *arguments[:-1], "--recipe=imagenet", "--system.devices=2"]) == 0
    assert "their communication is not included" in " ".join(capsys.readouterr().out.split())


def test_the_plan_trains_what_run_would_train(instant_probes, tmp_path, capsys):
    """Failed runs stay as they are; those whose process was killed are trained again."""
    for seed, kind in ((0, None), (1, "error"), (2, "killed")):
        config = resolve("mini", {"seed": seed})
        failure = {"kind": kind, "message": "why"} if kind else None
        status = "failed" if kind else "finished"
        seen = {"fingerprint": data.load_dataset(config.data).fingerprint}
        where = {"precision": "32-true"}
        Record(
            config.run_id,
            status,
            config.to_json(),
            data=seen,
            environment=where,
            failure=failure,
        ).write(tmp_path)
    arguments = [
        "sweeps/pool_size.yaml",
        "--recipe=mini",
        "--seeds=0,1,2",
        "--results",
        str(tmp_path),
    ]
    base = planned(capsys, *arguments, code=1)["variants"][0]  # one record has no top-1
    assert [base[name] for name in ("done", "failed", "todo")] == [1, 1, 1]
    assert set(base["runs"]) & set(read_plan(tmp_path)) == {base["runs"][2]}
    main(["plan", *arguments])
    message = (
        "12 runs of 4 variants: 1 done, 1 failed (`ablations run --retry-failed` trains it again)"
    )
    assert message in " ".join(capsys.readouterr().out.split())
    assert planned(capsys, *arguments, "--no-reuse", code=1)["todo"] == 12


def test_every_shipped_sweep_is_planned_on_every_recipe(instant_probes, tmp_path, capsys):
    sweeps = [str(path) for path in sorted(Path("sweeps").glob("*.yaml"))]
    for recipe in ("mini", "imagenet"):
        plan = planned(capsys, *sweeps, f"--recipe={recipe}", "--results", str(tmp_path / recipe))
        names = [(each["ablation"], each["variant"]) for each in plan["variants"]]
        assert len(set(names)) == len(names)
        assert sum(len(each["runs"]) for each in plan["variants"]) == plan["cells"] > 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs sweep files, or --check DIR"),
        (["none.yaml"], "none.yaml cannot be read"),
        (["sweeps/pool_size.yaml", "--std=0"], "--std 0.0 must be above 0"),
        (["sweeps/pool_size.yaml", "--std=many"], "invalid float value"),
        (["sweeps/pool_size.yaml", "--workers=0"], "--workers: '0' must be a whole number"),
        (["sweeps/pool_size.yaml", "--seeds=a"], "must be numbers"),
        (["sweeps/pool_size.yaml", "--system.accelerator=gpu"], "this machine has none"),
        (["sweeps/pool_size.yaml", "--data.batch_size=9000"], "above the 8000"),
        (["sweeps/pool_size.yaml", "--check=runs"], "--check DIR takes no sweep files"),
        (["--check=runs", "--optim.epochs=2"], "does not take --optim.epochs"),
        (["--check=/nowhere"], "no plan in /nowhere"),
        (["--check="], "an empty name is no folder"),
        (["sweeps/pool_size.yaml", "--chekc"], "did you mean '--check'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    results = [] if any("--check" in word for word in arguments) else ["--results", str(tmp_path)]
    assert main(["plan", *arguments, *results]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
    assert not list(tmp_path.iterdir())


def test_a_plan_is_checked_without_torch(tmp_path):
    with_timing(BASE[0]).write(tmp_path)
    write_plan(tmp_path, {BASE[0].run_id: EXPECTED})
    code = (
        "import sys; from ablations.cli.main import main; "
        "code = main(sys.argv[1:]); sys.exit('torch' in sys.modules or code)"
    )
    command = [sys.executable, "-c", code, "plan", "--check", str(tmp_path)]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_an_interrupted_plan_does_not_promise_to_resume(tmp_path, capsys, monkeypatch):
    def ended(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(probe_variants, "measure_in_processes", ended)
    arguments = ["sweeps/pool_size.yaml", "--recipe=mini", "--seeds=0", "--results", str(tmp_path)]
    assert main(["plan", *arguments]) == 130
    assert capsys.readouterr().err == "interrupted\n"
