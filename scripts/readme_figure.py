"""Draw the README's figure: the differences from the baseline in ``results/mini``.

    python scripts/readme_figure.py

`make notebooks` runs this too.
"""

from __future__ import annotations

from pathlib import Path

import ablations

STUDY, FIGURE = Path("results/mini"), Path("results/mini.png")


def main() -> None:
    """Draw it."""
    study = ablations.load_study(STUDY)
    FIGURE.write_bytes(ablations.figures.to_png(ablations.figures.forest_plot(study)))


if __name__ == "__main__":
    main()
