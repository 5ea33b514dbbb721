"""Every file is read and written as UTF-8, whatever the locale says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = sorted(
    path for folder in ("poolformer", "ablations", "scripts") for path in Path(folder).rglob("*.py")
)
TEXT = {"read_text", "write_text", "FileHandler", "TextIOWrapper"}
NOT_FILES = {"svg.write_text"}  # draws a text
OPENS = {"open", "fdopen", "NamedTemporaryFile", "TemporaryFile"}
BINARY = {"os.open", "Image.open", "tarfile.open", "zipfile.open", "tempfile.TemporaryFile"}


def without_encoding(tree: ast.AST) -> Iterator[int]:
    """The lines of calls that leave the encoding to the locale."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        given = {word.arg: word.value for word in node.keywords}
        texts = (last in TEXT and name not in NOT_FILES) or (
            "text" in given and name.startswith("subprocess.")
        )
        if last in OPENS and name not in BINARY:
            words = [*node.args, *([given["mode"]] if "mode" in given else [])]
            modes = [word.value for word in words if isinstance(word, ast.Constant)]
            texts = not any(isinstance(mode, str) and "b" in mode[:3] for mode in modes)
        if texts and "encoding" not in given:
            yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_file_is_opened_with_an_encoding(path):
    assert list(without_encoding(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("open(x)", True),
        ("open(x, 'rb')", False),
        ("path.open('w', newline='')", True),
        ("path.open('w', encoding='utf-8')", False),
        ("path.read_text()", True),
        ("os.fdopen(number, 'wb')", False),
        ("os.open(x, flags)", False),
        ("subprocess.run(x, text=True)", True),
    ],
)
def test_a_missing_encoding_is_detected(code, found):
    assert bool(list(without_encoding(ast.parse(code)))) == found
