"""The file of a plan, and its comparison with records; nothing is trained."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ablations.cli.main import main
from ablations.planning.check import compare_with_records
from ablations.planning.plan_file import PLAN_FILE, read_plan, write_plan
from poolformer import ConfigError
from tests.factories.plans import EXPECTED, with_timing
from tests.factories.records import BASE, record

RELU = replace(EXPECTED, variant="Activation: GELU -> ReLU")


def test_the_ratio_is_real_over_expected_time_per_variant_and_in_total():
    plan = {each.run_id: EXPECTED for each in BASE}
    relu = [record(seed, model__activation="relu") for seed in range(4)]
    plan |= {each.run_id: RELU for each in relu}
    known = [with_timing(each, seconds) for each, seconds in zip(BASE, (50, 150, 400), strict=True)]
    known += [
        with_timing(relu[0], device="NVIDIA H200"),
        with_timing(relu[1], threads=2),
        record(2, model__activation="relu", status="failed", top1=None),
    ]
    first, second, whole = compare_with_records(plan, known)
    assert (first["variant"], first["planned"], first["compared"]) == ("Baseline: Baseline", 3, 3)
    assert [first[name] for name in ("ratio_low", "ratio", "ratio_high")] == [0.5, 1.5, 4.0]
    assert (first["expected_seconds"], first["took_seconds"]) == (300, 600)
    assert second["ratio"] is None
    assert second["not_compared"] == {
        "ran on NVIDIA H200, planned for cpu (Xeon)": 1,
        "ran on 2 threads, planned for 1": 1,
        "failed": 1,
        "no record yet": 1,
    }
    assert (whole["variant"], whole["planned"], whole["compared"]) == ("", 7, 3)
    assert whole["ratio"] == 1.5


def test_a_plan_adds_to_an_earlier_one_and_replaces_the_same_runs(tmp_path):
    write_plan(tmp_path, {"a": EXPECTED, "b": EXPECTED})
    write_plan(tmp_path, {"b": RELU, "c": RELU})
    assert read_plan(tmp_path) == {"a": EXPECTED, "b": RELU, "c": RELU}
    assert [path.name for path in tmp_path.iterdir()] == [PLAN_FILE]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a plan"),
        ("[]", "is not a plan"),
        ('{"schema": 2, "cells": {}}', "schema version 2"),
        ('{"schema": 1}', "is not a plan"),
        ('{"schema": 1, "cells": {"a": {"seed": 1}}}', "is not a plan"),
        ('{"schema": 1, "cells": [1]}', "is not a plan"),
        ("[" * 10_000 + "]" * 10_000, "is not a plan"),
        ('{"schema": 1, "cells": {}, "cells": {}}', "the key 'cells' is given twice"),
        ('{"schema": 1, "cells": {"a": {"variant": 1}}}', "is not a plan"),
    ],
)
def test_a_file_that_is_not_a_plan_is_refused(text, message, tmp_path, capsys):
    (tmp_path / PLAN_FILE).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_plan(tmp_path)
    assert main(["plan", "--check", str(tmp_path)]) == 2
    # Before minutes of probes, too.
    assert main(["plan", "sweeps/pool_size.yaml", "--results", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 2
    assert err.count(str(tmp_path / PLAN_FILE)) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("train_seconds", "9"), ("variant", ["a"]), ("train_seconds", float("nan"))],
)
def test_a_wrong_value_is_not_a_plan(name, value, tmp_path):
    write_plan(tmp_path, {"a": EXPECTED})
    tree = json.loads((tmp_path / PLAN_FILE).read_text())
    tree["cells"]["a"][name] = value
    (tmp_path / PLAN_FILE).write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match="is not a plan"):
        read_plan(tmp_path)


def test_the_command_reports_missing_and_unreadable_records(tmp_path, capsys):
    write_plan(tmp_path, {each.run_id: replace(EXPECTED, loading=False) for each in BASE})
    assert main(["plan", "--check", str(tmp_path)]) == 2
    assert "no records in" in capsys.readouterr().err
    with_timing(BASE[0]).write(tmp_path)
    assert main(["plan", "--check", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "1 of 3 planned runs are compared (2 no record yet)" in out
    whole = " ".join(out.splitlines()[-2].split())
    assert whole == "all 3 1 1.7 min 2.5 min 1.50 1.50 to 1.50"
    assert "For 1 the plan did not include loading the images" in out
    broken = tmp_path / BASE[1].run_id / "record.json"
    broken.parent.mkdir()
    broken.write_text("{")
    assert main(["plan", "--check", str(tmp_path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)[-1]["ratio"] == 1.5
    assert f"left out: {broken}" in err
