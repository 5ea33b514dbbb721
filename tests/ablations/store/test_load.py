"""Loading results folders: which records are used, left out and reported."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from ablations.cli.main import main
from ablations.errors import RecordError
from ablations.machine import files
from ablations.store import history_csv, load, records
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


# Hostile files in a folder


def damaged(tree: dict, where: str, value: object) -> dict:
    """A record's values with one of them replaced."""
    *groups, name = where.split("/")
    inner = tree
    for group in groups:
        inner = inner[group]
    inner[name] = value
    return tree


HOSTILE = {
    "config/optim/epochs": ["3", None, [3], 3.5, True, 10**30],
    "config/optim/lr": ["1", [1], True, 10**400],
    "config/data/name": [["mini"], None, {}],
    "config/data/crop_scale": [[1], [1, 2, 3], ["a", "b"], 1],
    "config/model/token_mixers": [[["pool"], ["pool"]], 3, None, {"a": 1}],
    "config/model/residual": [0, "true"],
    "config/seed": ["0", True, 2**64, [0]],
    "config/optim": [{}, [], None],
    "config/system": [7, "x"],
    "config/recipe": [["mini"], None],
    "config": [{}, [], None],
    "cost/params": [10**400, -1, "1"],
    "data": [[], {"fingerprint": ["x"]}, {"classes": "ten"}],
    "environment": [{"versions": ["x"]}, {"threads": "one"}, 3],
    "tracker": [{"wandb": ["x"]}, []],
    "failure": [{"kind": "oom"}, {"kind": ["x"], "message": "y"}, "x"],
    "run_id": [["x"], None, 7],
    "status": ["done", ["finished"], None],
    "schema": [True, "1", 1.0, None],
    "metrics": [{"val/top1": {"last": None}}, {"val/top1": [1]}],
}
TEXTS = {
    "nested deeply": b"[" * 10_000 + b"]" * 10_000,
    "a mapping nested deeply": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a byte order mark": b"\xef\xbb\xbf{}",
    "invalid UTF-8": b'{"run_id": "\xff"}',
    "half a surrogate": b'{"run_id": "\\ud800"}',
    "nothing": b"",
    "a null byte": b"\0",
    "a bare NaN": b"NaN",
    "a list": b"[1]",
    "a string": b'"record"',
}


@pytest.mark.parametrize("where", HOSTILE)
def test_a_record_with_a_hostile_value_is_reported_in_one_line(where, tmp_path):
    good = BASE[0].write(tmp_path / "good")
    for value in HOSTILE[where]:
        good.with_name("odd").mkdir(exist_ok=True)
        path = good.with_name("odd") / "record.json"
        path.write_text(json.dumps(damaged(json.loads(good.read_text()), where, value)))
        (problem,) = load.load_records([path.parent.parent]).problems
        assert problem.startswith(str(path))
        assert "\n" not in problem
        assert len(problem) < len(str(path)) + 200


@pytest.mark.parametrize("name", TEXTS)
def test_an_invalid_file_is_reported_in_one_line(name, tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(TEXTS[name])
    with pytest.raises(RecordError) as expected:
        Record.read(path)
    assert str(expected.value).startswith(str(path))
    assert "\n" not in str(expected.value)


def test_a_key_that_is_given_twice_is_reported(tmp_path):
    path = BASE[0].write(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"status":', '"status": "failed", "status":'))
    with pytest.raises(RecordError, match="the key 'status' is given twice"):
        Record.read(path)
    path.write_text(text.replace('"last":', '"last" : 99, "last":'))
    with pytest.raises(RecordError, match="the key 'last' is given twice"):
        Record.read(path)
    failure = {"kind": "error", "message": 'a log with "last": and \\"this\\":'}
    odd = replace(BASE[0], status="failed", failure=failure)
    assert Record.read(odd.write(tmp_path)) == odd


def fifo(path):
    os.mkfifo(path)


def huge(path):
    path.touch()
    os.truncate(path, 2**40)


@pytest.mark.parametrize(
    "make",
    [
        fifo,
        huge,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
    ],
)
@pytest.mark.parametrize("name", ["record.json", "begun.json", "history.csv"])
def test_a_path_that_is_no_regular_file_is_reported_and_the_rest_is_shown(
    make, name, tmp_path, capsys
):
    for each in BASE:
        each.write(tmp_path)
    folder = tmp_path / BASE[0].run_id
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    assert main(["status", "--results", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith(f"left out: {folder / name}")
    assert BASE[1].run_id in out
    if name == "record.json":
        assert main(["table", str(tmp_path)]) == 1
        assert f"left out: {folder / name}" in capsys.readouterr().err
        assert main(["clean", "--results", str(tmp_path), "--yes"]) == 1
        assert f"left alone: {folder / name}" in capsys.readouterr().err


HISTORIES = {
    "short": "epoch,lr\n1\n",
    "long": "epoch,lr\n1,2,3\n",
    "nan": "epoch,lr\nnan,2\n",
    "word": "epoch,lr\n1,x\n",
    "twice": "epoch,lr\n1,2\n1,2\n",
    "backwards": "epoch,lr\n2,2\n1,2\n",
    "half": "epoch,lr\n1.5,2\n",
    "none": "lr\n1\n",
    "columns": "epoch,epoch\n1,1\n",
    "underscore": "epoch,lr\n1,1_0\n",
    "digits": "epoch,lr\n" + "9" * 5000 + ",1\n",
    "quote": 'epoch,lr\n1,"2\n',
    "blank": "epoch,lr\n1,\n",
    "zero": "epoch,lr\n0,1\n",
    "wide": "epoch,lr\n1," + "1" * 200_000 + "\n",
    "binary": "\udcff\x00\udc80",
}


@pytest.mark.parametrize("name", HISTORIES)
def test_an_invalid_history_is_reported_and_the_rest_is_shown(name, tmp_path, capsys):
    for each in BASE:
        each.write(tmp_path)
    path = tmp_path / BASE[0].run_id / "history.csv"
    path.write_bytes(HISTORIES[name].encode(errors="surrogateescape"))
    assert main(["status", "--results", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith(f"left out: {path}")
    assert all(each.run_id in out for each in BASE)


@pytest.mark.parametrize("text", ["", "epoch,lr\n", "\n"])
def test_a_history_without_rows_is_none(text, tmp_path):
    (tmp_path / "history.csv").write_text(text)
    assert history_csv.read_history(tmp_path / "history.csv") == []


def test_numbers_of_a_history_that_are_not_finite_are_not_shown(tmp_path, capsys):
    path = BASE[0].write(tmp_path).with_name("history.csv")
    path.write_text("epoch,val/top1,train_seconds,epoch_seconds,pictures\n1,nan,nan,inf,8000\n")
    assert main(["status", "--results", str(tmp_path), "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["pictures_per_second"] is None


def test_another_users_folder_is_reported_and_the_rest_is_shown(tmp_path, capsys, monkeypatch):
    for each in BASE:
        each.write(tmp_path)
    path = tmp_path / BASE[0].run_id / "record.json"
    read = files.read_regular

    def refuse(asked):
        if str(asked) == str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return read(asked)

    monkeypatch.setattr(files, "read_regular", refuse)  # root may read everything
    for words in (["status", "--results", str(tmp_path)], ["table", str(tmp_path)]):
        assert main(words) == 1
        out, err = capsys.readouterr()
        assert f"left out: {path}: permission denied" in err
        assert out
