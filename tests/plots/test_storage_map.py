"""Does the picture of strides show the elements, the ways between them, and what is only kept alive?"""

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle

from autograder import simgpu
from autograder.errors import RecordError
from autograder.plots import palette, storage_map


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def cells(figure, colour):
    patches = figure.axes[0].patches
    return sum(isinstance(p, Rectangle) and to_hex(p.get_facecolor()).upper() == colour for p in patches)


def test_a_view_fills_what_it_shows_and_leaves_the_rest_of_the_storage_pale():
    """GIVEN two of twelve numbers THEN two cells are filled left, two right, and ten are pale."""
    x = torch.arange(12).view(3, 4)
    figure = storage_map({"x[1, 2:]": x[1, 2:]})
    assert (cells(figure, palette.BLUE), cells(figure, palette.FREE["facecolor"])) == (4, 10)
    assert "shows 2 of the 12 elements" in figure.alt


def test_a_transpose_swaps_the_ways_and_shares_the_storage():
    x = torch.arange(12).view(3, 4)
    figure = storage_map({"x": x, "x.t()": x.t()})
    assert [text for text in words(figure) if text.startswith("+")] == [
        "+4: next row", "+1: next column", "+1: next row", "+4: next column",
    ]  # fmt: skip
    assert "stride (1, 4): not contiguous" in figure.alt and "copy" not in figure.alt


def test_a_reshape_that_had_to_copy_is_called_a_copy_in_its_own_order():
    x = torch.arange(12).view(3, 4)
    figure = storage_map({"x": x, "r": x.t().reshape(12)})
    assert "contiguous, a copy" in figure.alt
    assert words(figure)[-13:-1] == [str(n) for n in x.t().flatten().tolist()]


def test_an_expanded_row_stays_in_place():
    """GIVEN stride 0 THEN the way to the next row is +0, without an arrow."""
    figure = storage_map({"e": torch.arange(4)[None].expand(3, 4)})
    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert "+0: next row" in words(figure) and len(arrows) == 1


def test_tensors_on_the_device_are_drawn_alike():
    x = torch.arange(6.0)
    there = x.to(simgpu.enable())
    assert words(storage_map({"x": there[::2]})) == words(storage_map({"x": x[::2]}))


@pytest.mark.parametrize("what", [torch.ones(2), {}, {"x": torch.ones(2, 2, 2)}, {"x": torch.ones(25)}, {"x": [1]}])
def test_what_cannot_be_drawn_is_refused(what):
    with pytest.raises(RecordError, match=r"storage_map\(\) draws"):
        storage_map(what)
