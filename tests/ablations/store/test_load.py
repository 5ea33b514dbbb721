"""Loading results folders: which records are used, left out and reported."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ablations.cli.main import main
from ablations.errors import RecordError
from ablations.store import load, records
from ablations.store.records import Record
from tests.factories.records import BASE, IDENTITY, record


def test_records_survive_the_disk_and_broken_ones_are_reported(tmp_path):
    for each in (*BASE, *IDENTITY):
        each.write(tmp_path)
    found, problems = records.read_records([tmp_path])
    assert {item.run_id for item in found} == {item.run_id for item in (*BASE, *IDENTITY)}
    assert not problems
    broken = {
        "truncated": '{"schema": 1, "run_id"',
        "list": "[]",
        "future": '{"schema": 99}',
        "odd_field": '{"schema": 1, "run_id": "a", "status": "finished", "config": {}, "new": 1}',
        "no_status": '{"schema": 1, "run_id": "a", "config": {}}',
    }
    for name, text in broken.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(text)
    found, problems = records.read_records([tmp_path])
    assert len(found) == 6
    assert len(problems) == len(broken)
    assert all("record.json" in problem and "\n" not in problem for problem in problems)


def test_the_same_run_in_two_folders_is_one_unless_the_numbers_differ(tmp_path):
    record(0, 80.0).write(tmp_path / "a")
    record(0, 80.0).write(tmp_path / "b")
    record(0, 70.0).write(tmp_path / "c")
    found, problems = records.read_records([tmp_path / "a", tmp_path / "b"])
    assert (len(found), problems) == (1, [])
    found, problems = records.read_records([tmp_path / "a", tmp_path / "c"])
    assert len(found) == 1
    assert "differs from" in problems[0]


def test_a_done_record_wins_over_a_failed_one_and_two_that_differ_are_reported(tiny):
    config = tiny().to_json()
    good = Record("a", "finished", config, metrics={"val/top1": {"last": 1.0}})
    bad = Record("a", "failed", config)
    other = Record("a", "finished", config, metrics={"val/top1": {"last": 2.0}})
    assert records.merge_records([(bad, "x"), (good, "y"), (good, "z")]) == ([(good, "y")], [])
    assert records.merge_records([(good, "x"), (bad, "y")]) == ([(good, "x")], [])
    found, (problem,) = records.merge_records([(good, "x"), (other, "y")])
    assert found == [(good, "x")]
    assert problem.startswith("y differs from x in its metrics")


@pytest.mark.parametrize(
    ("name", "value"),
    [("metrics", "x"), ("metrics", {"val/top1": 3}), ("cost", []), ("failure", {"kind": "oom"})],
)
def test_a_record_with_a_field_of_another_type_is_refused(tiny, name, value):
    tree = {"schema": 1, "run_id": "a", "status": "finished", "config": tiny().to_json()}
    assert Record.of(tree, "here").run_id == "a"
    with pytest.raises(RecordError, match="^here: .* (should be an object|is missing)$"):
        Record.of({**tree, name: value}, "here")


def test_a_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = BASE[0].write(tmp_path)
    before = path.read_text()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        record(0, 10.0).write(tmp_path)
    assert path.read_text() == before
    assert [item.name for item in path.parent.iterdir()] == ["record.json"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RecordError, match="no folder .*none"):
        records.read_records([tmp_path / "none"])


BAD = {
    "truncated": (lambda text: text[: len(text) // 2], "is not a record"),
    "of another schema": (lambda text: text.replace('"schema": 1', '"schema": 7'), "version 7"),
    "with a new field": (lambda text: '{"new": 1,' + text.lstrip("{"), "unknown field 'new'"),
    "with NaN": (
        lambda text: text.replace('"last": 80.0', '"last": NaN'),
        "last nan should be a finite number",
    ),
    "with a string": (
        lambda text: text.replace('"last": 80.0', '"last": "80"'),
        "should be a valid number",
    ),
    "above 100": (lambda text: text.replace('"last": 80.0', '"last": 8000.0'), "0 to 100"),
    "edited": (
        lambda text: text.replace('"epochs": 3', '"epochs": 4'),
        "does not match its run_id",
    ),
    "incomplete": (lambda text: text.replace('"depths"', '"depth"'), "does not match its run_id"),
    "of an unknown recipe": (
        lambda text: text.replace('"mini",\n    "seed"', '"x",\n    "seed"'),
        "recipe",
    ),
    "empty": (lambda text: "", "is not a record"),
    "binary": (lambda text: "\udcff\x00", "is not a record"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("form", ["md", "csv", "tex"])
def test_a_bad_record_is_reported_with_its_file_and_the_good_ones_are_shown(
    name, form, tmp_path, capsys
):
    for each in (*BASE, *IDENTITY):
        each.write(tmp_path)
    path = tmp_path / BASE[0].run_id / "record.json"
    damage, expected = BAD[name]
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_bytes(damaged.encode(errors="surrogateescape"))
    assert main(["table", str(tmp_path), "--format", form]) == 1
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert str(path) in err
    assert expected in err
    assert "79.33" in out  # the mean of the identity's three
    assert "81.33" not in out  # the baseline's mean without the bad one is another


def test_a_duplicate_with_other_numbers_is_reported_and_not_averaged(tmp_path, capsys):
    for each in (*BASE, *IDENTITY):
        each.write(tmp_path / "a")
    record(0, 60.0).write(tmp_path / "b")
    assert main(["table", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    out, err = capsys.readouterr()
    assert "81.33 ± 1.53" in out
    (line,) = err.splitlines()
    assert str(tmp_path / "a" / BASE[0].run_id) in line
    assert str(tmp_path / "b" / BASE[0].run_id) in line


def test_an_empty_folder_is_reported_and_the_other_is_shown(tmp_path, capsys):
    for each in BASE:
        each.write(tmp_path / "a")
    (tmp_path / "b").mkdir()
    assert main(["table", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    out, err = capsys.readouterr()
    assert "81.33" in out
    assert err == f"left out: {tmp_path / 'b'} has no records\n"


def test_a_missing_baseline_is_reported_with_the_files_and_the_rows_are_shown(tmp_path, capsys):
    for each in (*IDENTITY, record(0, model__norm="none")):
        each.write(tmp_path)
    assert main(["table", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "79.33" in out
    (line,) = err.splitlines()
    assert "is of a baseline" in line
    assert str(tmp_path / IDENTITY[0].run_id / "record.json") in line


def test_an_ambiguous_baseline_is_reported_and_can_be_chosen(tmp_path, capsys):
    runs = [record(seed, 80.0 + seed, optim__lr=lr) for lr in (0.1, 0.2) for seed in (0, 1)]
    for each in runs:
        each.write(tmp_path)
    assert main(["table", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "More than one row could be the baseline" in out
    (line,) = err.splitlines()
    for run in (runs[0], runs[2]):
        assert str(tmp_path / run.run_id / "record.json") in line
        assert run.run_id in out
    assert main(["table", str(tmp_path), "--baseline", runs[2].run_id]) == 0
    assert "Learning rate 0.2 -> 0.1" in capsys.readouterr().out
    assert main(["table", str(tmp_path), "--baseline", "ffffffffffff"]) == 2
    assert "--baseline ffffffffffff is not the id of a run here" in capsys.readouterr().err


def test_the_order_of_fields_in_a_file_does_not_matter(tmp_path):
    path = BASE[0].write(tmp_path)
    tree = json.loads(path.read_text())
    tree["config"]["model"] = dict(reversed(tree["config"]["model"].items()))
    path.write_text(json.dumps(tree))
    found = load.load_records([tmp_path])
    assert not found.problems
    assert found.records[0].variant == BASE[1].variant


INVALID = {
    "cost.params 5.5": {"cost": {"params": 5.5}},
    "cost.macs 'a'": {"cost": {"macs": "a"}},
    "cost.paper [1]": {"cost": {"paper": [1]}},
    "environment.versions None": {"environment": {"precision": "32-true", "versions": None}},
    "environment.precision ['x']": {"environment": {"precision": ["x"]}},
    "data.fingerprint 7": {"data": {"fingerprint": 7}},
    "failure.kind ['x']": {"failure": {"kind": ["x"], "message": ""}, "status": "failed"},
    "timing.epoch_seconds 'x'": {"timing": {"epoch_seconds": "x"}},
}


@pytest.mark.parametrize("expected", INVALID)
def test_an_invalid_value_deep_in_a_record_is_reported_in_one_line(expected, tmp_path, capsys):
    for each in (*BASE, *IDENTITY[1:]):
        each.write(tmp_path)
    path = replace(IDENTITY[0], **INVALID[expected]).write(tmp_path)
    assert main(["table", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"left out: {path}: {expected}")


def test_a_partial_or_zero_cost_is_valid(tmp_path, capsys):
    for each in (*BASE, *IDENTITY):
        replace(each, cost={"params": 5, "macs": 0}).write(tmp_path)
    for command in ("table", "claims"):
        assert main([command, str(tmp_path)]) == 0
    assert "79.33" in capsys.readouterr().out


def test_a_folder_with_a_line_break_in_its_name_is_reported_in_one_line(tmp_path, capsys):
    BASE[0].write(tmp_path)
    (tmp_path / "a\nb").mkdir()
    (tmp_path / "a\nb" / "record.json").write_text("{")
    assert main(["table", str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("change", ["status", "data", "environment"])
def test_one_run_id_of_other_images_precision_or_end_is_reported(change, tmp_path):
    other = {
        "status": "diverged",
        "data": {"fingerprint": "0" * 16},
        "environment": {"precision": "bf16-mixed"},
    }
    BASE[0].write(tmp_path / "a")
    replace(BASE[0], **{change: other[change]}).write(tmp_path / "b")
    found = load.load_records([tmp_path / "a", tmp_path / "b"])
    assert len(found.records) == 1
    assert len(found.problems) == 1
    assert "is ignored: both are of run" in found.problems[0]
