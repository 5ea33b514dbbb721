"""Hostile and damaged files in a results folder: each is reported in one line."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from ablations.cli.main import main
from ablations.errors import RecordError
from ablations.machine import files
from ablations.store import history_csv, load
from ablations.store.records import Record
from tests.factories.records import BASE


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
@pytest.mark.parametrize("name", ["record.json", "begun.json", "history.csv", "predictions.npz"])
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
