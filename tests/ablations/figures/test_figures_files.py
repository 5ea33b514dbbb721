"""Figures as files and in notebooks: reproducible, whatever the user's matplotlib style."""

from __future__ import annotations

import io
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from PIL import Image

from ablations import figures
from ablations.figures import drawing
from tests.factories.figures import BASE, OTHER, made_up


def test_figures_do_not_change_matplotlibs_state():
    code = (
        "import sys, matplotlib as mpl; from ablations import figures;"
        "mpl.rcParams['font.size'] = 7;"
        "figures.to_png(figures.published_speed());"
        "assert mpl.rcParams['font.size'] == 7; assert 'matplotlib.pyplot' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_other_packages_do_not_import_matplotlib():
    code = (
        "import sys, ablations.tables, ablations.cli.main, ablations.cli.table as _;"
        "sys.exit('matplotlib' in sys.modules or 'ablations.figures' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_readers_own_style_changes_nothing():
    study, _ = made_up([*BASE, *OTHER])
    usual = figures.to_png(figures.forest_plot(study))
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert figures.to_png(figures.forest_plot(study)) == usual


def test_the_same_figure_is_the_same_svg():
    study, _ = made_up([*BASE, *OTHER])
    text = figures.to_svg(figures.forest_plot(study))
    assert text == figures.to_svg(figures.forest_plot(study))
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "<text" not in text  # letters are paths: no font is needed


def test_a_notebook_shows_the_figure_at_its_size():
    study, _ = made_up([*BASE, *OTHER])
    figure = figures.forest_plot(study)
    shown, size = figure._repr_png_()
    with Image.open(io.BytesIO(shown)) as image:
        assert image.size == tuple(1.5 * pixels for pixels in size.values())
        few = np.asarray(image.convert("RGB")).astype(int)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=1.5 * drawing.DPI)
    with Image.open(file) as image:
        exact = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(few - exact).mean() < 0.5  # of 255: the fewer colours are not seen
