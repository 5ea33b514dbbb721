"""The README's picture: the differences from the baseline in ``results/mini``.

    python scripts/readme_picture.py

`make notebooks` does this too.
"""

from __future__ import annotations

from pathlib import Path

from ablations import figures, tables

STUDY, PICTURE = Path("results/mini"), Path("results/mini.png")


def main() -> None:
    """Write it."""
    (study,) = tables.load_studies(STUDY)
    PICTURE.write_bytes(figures.to_png(figures.forest_plot(study)))


if __name__ == "__main__":
    main()
