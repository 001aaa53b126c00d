"""Are segments and blocks drawn where the snapshot says they are?"""

import pytest
import torch

from autograder import simgpu
from autograder.errors import RecordError
from autograder.plots import block_map

MIB = 1 << 20


def segment(*blocks, kind="large", address=0):
    used = sum(size for state, size in blocks if state == "active_allocated")
    return {
        "address": address, "segment_type": kind, "total_size": sum(size for _, size in blocks), "allocated_size": used,
        "blocks": [{"state": state, "size": size} for state, size in blocks],
    }  # fmt: skip


USED, FREE, WAITING = "active_allocated", "inactive", "active_pending_free"
SNAPSHOT = {
    "segments": [
        segment((USED, MIB), (FREE, MIB), kind="small", address=5),
        segment((FREE, 4 * MIB), (USED, 10 * MIB), (WAITING, 6 * MIB)),
    ]
}


def bars(figure):
    """Each bar as (row, left, width, colour), in the axis' unit."""
    found = [
        (round(patch.get_y() + 0.4), patch.get_x(), patch.get_width(), patch.get_facecolor())
        for patch in figure.axes[0].patches
    ]
    return sorted(found)


def test_each_segment_is_a_row_and_each_block_a_bar():
    """Is the largest segment first, and does each block stand at its offset with its size?"""
    figure = block_map(SNAPSHOT)
    places = [(row, round(left, 3), round(width, 3)) for row, left, width, _ in bars(figure)]
    assert places == [(0, 0, 4), (0, 4, 10), (0, 14, 6), (1, 0, 1), (1, 1, 1)]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["large 20.0 MiB", "small 2.0 MiB"]
    assert "(MiB)" in figure.axes[0].get_xlabel()


def test_states_have_colours_and_hatches():
    """Can in use, free and waiting be told apart, in grey too?"""
    colours = {(row, round(left)): colour for row, left, _, colour in bars(block_map(SNAPSHOT))}
    assert colours[(0, 4)] == colours[(1, 0)]
    assert len({colours[(0, 0)], colours[(0, 4)], colours[(0, 14)]}) == 3
    hatches = {patch.get_hatch() for patch in block_map(SNAPSHOT).axes[0].patches}
    assert len(hatches) == 3


def test_tiny_blocks_stay_visible_and_inside_their_segment():
    """GIVEN blocks of 512 B at both ends of 20 MiB THEN they are drawn wide enough to see, within the row."""
    figure = block_map({"segments": [segment((USED, 512), (FREE, 20 * MIB - 1024), (USED, 512))]})
    first, _, last = bars(figure)
    assert first[2] >= 0.05 and last[2] >= 0.05
    assert last[1] + last[2] == pytest.approx(20)


def test_a_row_full_of_small_blocks_looks_full():
    """GIVEN a thousand neighbours in use THEN they are one bar: outlines around each would hide them."""
    figure = block_map({"segments": [segment(*[(USED, 2048)] * 1024)]})
    ((_, left, width, _),) = bars(figure)
    assert (left, width) == (0, 2)


def test_the_title_counts():
    figure = block_map(SNAPSHOT)
    assert figure.get_suptitle() == "11.0 MiB in use of 22.0 MiB reserved, 2 segments (snapshot)"
    assert "large 20.0 MiB segment with 10.0 MiB in use" in figure.alt


def test_an_empty_allocator_is_a_figure_too():
    assert block_map({"segments": []}).get_suptitle().startswith("0 B in use of 0 B reserved, 0 segments")


def test_many_segments_are_cut_and_counted():
    figure = block_map({"segments": [segment((USED, 2 * MIB), address=i) for i in range(20)]})
    assert len(figure.axes[0].get_yticklabels()) == 16
    assert "4 smaller segments are not shown" in figure.alt


def test_the_simulated_gpu_as_it_is_now():
    """GIVEN a live 3 MiB tensor THEN the map of the device holds its block, and says simulated."""
    device = simgpu.enable()
    tensor = torch.ones(3 * MIB // 4, device=device)
    figure = block_map(device)
    assert any(round(width, 3) == 3 for _, _, width, _ in bars(figure))
    assert figure.get_suptitle().endswith("(simulated GPU)")
    assert torch.simgpu.memory_allocated() >= tensor.untyped_storage().nbytes()


def test_the_ledger_of_the_cpu_and_a_trace():
    """Do CPU and recordings draw as well?"""
    import autograder as ag

    kept = []
    trace = ag.record(lambda: kept.append(torch.ones(1000)), steps=4, device="cpu")
    assert block_map(trace).get_suptitle().endswith("(CPU)")
    assert block_map("cpu").get_suptitle().endswith("(CPU)")


def test_anything_else_is_refused():
    with pytest.raises(RecordError, match="a device, a recording or a snapshot.*list"):
        block_map([])
