"""Run notebooks from top to bottom, each in a kernel of its own, and keep what they show.

    python scripts/run_notebooks.py notebooks/*.ipynb

`make notebooks` does this for all of them, after a new study or a change of a figure. A file is
written only once its notebook has run to its end; it then holds sources and outputs, and nothing of
the machine or the time. Each runs in its own folder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
METADATA = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
__all__ = ["METADATA", "CellExecutionError", "executed", "main"]
TIMEOUT = 120  # seconds a cell


def executed(path: Path, **kernel: Any) -> Any:
    """A notebook with the outputs of a run from top to bottom.

    Args:
        path: Its file, which stays as it is.
        kernel: What the kernel is started with, such as ``env``.

    Raises:
        CellExecutionError: A cell raised; the message has its source and its traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    place = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources=place, record_timing=False
    )
    with tempfile.TemporaryDirectory() as folder:
        # By files in place of ports: no other user of the machine can read along.
        manager = client.create_kernel_manager()
        manager.transport = "ipc"
        manager.connection_file = f"{folder}/kernel.json"
        client.execute(**kernel)
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def main(paths: list[str]) -> None:
    """Run each notebook and replace it by what it has become."""
    if not paths:
        sys.exit("give the notebooks: python scripts/run_notebooks.py notebooks/*.ipynb")
    for name in paths:
        path = Path(name)
        text = nbformat.writes(executed(path)).rstrip("\n") + "\n"
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
