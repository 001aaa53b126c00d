"""Figures that people published of real GPUs: the simulated one gives the same."""

import importlib.util
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[2] / "benchmarks" / "published_figures.py"
_spec = importlib.util.spec_from_file_location("published_figures", _FILE)
published = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(published)


@pytest.mark.parametrize("figure", published.FIGURES, ids=lambda figure: figure.name)
def test_a_published_figure_is_matched_to_the_byte(figure):
    """GIVEN the program that somebody ran WHEN it runs here THEN it gives the figures that were printed."""
    assert published.measured(figure) == figure.printed, figure.source
