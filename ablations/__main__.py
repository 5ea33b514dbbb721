"""`python -m ablations` is the command `ablations`."""

from __future__ import annotations

import sys

from ablations.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
