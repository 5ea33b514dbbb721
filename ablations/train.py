"""`python -m ablations.train` is `ablations train`: the `program` of a W&B sweep."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    runpy.run_module("ablations", run_name="__main__")
elif __name__ == "ablations.train":  # an import would hide the function of the same name
    raise ImportError("ablations.train is a command; the function is `from ablations import train`")
