"""Run notebooks from top to bottom, each in its own kernel, and save their outputs.

    python scripts/run_notebooks.py notebooks/*.ipynb

`make notebooks` does this for all of them, after a new study or a change of a figure. A notebook is
saved only if all its cells have run. The file has sources and outputs, but no trace of the machine
or the time. Each notebook runs in its own folder.
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
__all__ = ["METADATA", "CellExecutionError", "execute", "main"]
TIMEOUT = 120  # seconds per cell


def execute(path: Path, **kernel: Any) -> Any:
    """A notebook with new outputs.

    Args:
        path: Its file, which does not change.
        kernel: Arguments for the start of the kernel, such as ``env``.

    Raises:
        CellExecutionError: A cell raised; the message has its source and its traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    folder_of_notebook = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources=folder_of_notebook,
        record_timing=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        # Communicate through files instead of ports, which other users of the machine could read.
        manager = client.create_kernel_manager()
        manager.transport = "ipc"
        manager.connection_file = f"{folder}/kernel.json"
        client.execute(**kernel)
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def main(paths: list[str]) -> None:
    """Run each notebook and save it with its outputs."""
    if not paths:
        sys.exit("name the notebooks: python scripts/run_notebooks.py notebooks/*.ipynb")
    for name in paths:
        path = Path(name)
        text = nbformat.writes(execute(path)).rstrip("\n") + "\n"
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
