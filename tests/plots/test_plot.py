"""Does a figure show the recorded numbers, in readable units, and say what it shows?"""

import numpy as np
import pytest

from autograder import simgpu
from autograder.errors import RecordError
from autograder.plots import plot
from tests.plots.traces import make_trace

KIB, MIB = 1 << 10, 1 << 20


def lines(figure):
    """Map each legend label to its line."""
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_lines_are_the_recorded_numbers(leak):
    """Are allocated, peak and reserved drawn as recorded, warm-up included, in the unit of the axis?"""
    figure = plot(leak)
    drawn = lines(figure)
    assert set(drawn) == {"allocated", "peak", "reserved"}
    for name, line in drawn.items():
        np.testing.assert_array_equal(line.get_xdata(), range(13))
        np.testing.assert_allclose(line.get_ydata() * MIB, getattr(leak, name))
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "memory (MiB)")
    assert axes.get_ylim()[0] == 0


def test_units_follow_the_size():
    """Do small traces read in KiB and tiny ones in bytes?"""
    for size, unit in ((100, "B"), (40 * KIB, "KiB"), (40 * MIB, "MiB"), (3 << 30, "GiB")):
        assert plot(make_trace([size] * 8)).axes[0].get_ylabel() == f"memory ({unit})"


def test_lines_can_be_told_apart_without_colour(leak):
    """Has each line its own style, and reserved its stairs?"""
    drawn = lines(plot(leak, prediction="stays flat"))
    styles = {(line.get_linestyle(), line.get_marker(), line.get_linewidth()) for line in drawn.values()}
    assert len(styles) == len(drawn) == 4
    assert drawn["reserved"].get_drawstyle() == "steps-mid"


def test_warm_up_is_shaded(leak):
    """Does the grey span cover the first three steps and no more?"""
    (span,) = figure_patches(plot(leak))
    assert (span.get_x(), span.get_x() + span.get_width()) == (-0.5, 2.5)
    assert figure_patches(plot(make_trace([1 * MIB] * 5, warmup=0))) == []


def figure_patches(figure):
    return [patch for patch in figure.axes[0].patches if patch.get_label() == "warm-up"]


def test_the_title_gives_the_slope_and_the_device(leak, flat):
    """Is a simulated GPU called simulated, and a real one not?"""
    assert plot(leak).get_suptitle() == "Allocated memory grows 1.0 MiB per step (simulated GPU)"
    assert plot(flat).get_suptitle() == "Allocated memory stays flat (simulated GPU)"
    real = make_trace([MIB] * 8, source="cuda")
    assert plot(real).get_suptitle() == "Allocated memory stays flat (GPU)"


def test_a_small_leak_on_a_high_level_is_visible():
    """GIVEN 512 B per step on 50 MiB THEN the axis zooms in, and says that it does not start at zero."""
    allocated = [50 * MIB + 512 * i for i in range(20)]
    figure = plot(make_trace(allocated, reserved=[60 * MIB] * 20))
    axes = figure.axes[0]
    low, high = (edge * MIB for edge in axes.get_ylim())
    assert (allocated[-1] - allocated[0]) / (high - low) > 0.3
    assert "not from zero" in axes.get_ylabel()
    assert "reserved: 60.0 MiB, above this plot" in lines(figure)


def test_a_peak_near_a_small_leak_is_not_cut_off():
    """GIVEN an axis that zooms in WHEN the peak rises above it, steeper than memory THEN all of the peak is on it."""
    allocated = [14 * MIB + 64 * KIB * i for i in range(20)]
    peak = [now + 192 * KIB * i for i, now in enumerate(allocated)]
    axes = plot(make_trace(allocated, peak=peak, reserved=[46 * MIB] * 20)).axes[0]
    assert "not from zero" in axes.get_ylabel()
    assert axes.get_ylim()[1] * MIB > peak[-1]


def test_reserved_far_above_does_not_squash_the_rest():
    """GIVEN 20 MiB reserved for less than 1 MiB THEN it is named in the legend, not drawn to scale."""
    figure = plot(make_trace([100 * KIB * (i + 1) for i in range(8)], reserved=[20 * MIB] * 8))
    assert "reserved: 20.0 MiB, above this plot" in lines(figure)
    assert figure.axes[0].get_ylim()[1] * KIB < 1 * MIB


def test_before_and_after_share_one_axis(leak, flat):
    """Are both recordings in one plot, and is the difference in its title?"""
    figure = plot(before=leak, after=flat)
    assert len(figure.axes) == 1
    drawn = lines(figure)
    np.testing.assert_allclose(drawn["before"].get_ydata() * MIB, leak.allocated)
    np.testing.assert_allclose(drawn["after"].get_ydata() * MIB, flat.allocated)
    np.testing.assert_allclose(drawn["peak before"].get_ydata() * MIB, leak.peak)
    assert "reserved before" in drawn
    assert figure.get_suptitle() == "Before: grows 1.0 MiB per step. After: stays flat (simulated GPU)"


def test_what_the_first_run_left_behind_is_not_counted_against_the_second():
    """GIVEN the leak of the first run still alive WHEN the second starts THEN both curves begin at the same level."""
    before = make_trace([(4 + i) * MIB for i in range(13)], baseline=3 * MIB)
    after = make_trace([21 * MIB] * 13, baseline=20 * MIB)
    figure = plot(before=before, after=after)
    drawn = lines(figure)
    np.testing.assert_allclose(drawn["before"].get_ydata() * MIB, before.allocated)
    np.testing.assert_allclose(drawn["after"].get_ydata() * MIB, [4 * MIB] * 13)
    assert "from the same start" in figure.axes[0].get_ylabel()
    assert "reserved after" not in drawn


def test_peaks_are_told_as_they_are_drawn():
    """GIVEN more in use before the second run THEN the title gives its peak from the start of the first, as the curve."""
    before = make_trace([3 * MIB] * 13, [9 * MIB] * 13, baseline=1 * MIB)
    after = make_trace([5 * MIB] * 13, [8 * MIB] * 13, baseline=3 * MIB)
    assert plot(before=before, after=after).get_suptitle() == "Peak 9.0 MiB before, 6.0 MiB after (simulated GPU)"


def test_two_flat_recordings_are_told_apart_by_what_differs(flat):
    """Does the title name the peak, or reserved where peaks are alike?"""
    high = make_trace([3 * MIB] * 13, [9 * MIB] * 13, [10 * MIB] * 13)
    assert plot(before=high, after=flat).get_suptitle() == "Peak 9.0 MiB before, 5.0 MiB after (simulated GPU)"
    wide = make_trace([3 * MIB] * 13, [5 * MIB] * 13, [10 * MIB] * 13)
    assert plot(before=wide, after=flat).get_suptitle() == "Reserved 10.0 MiB before, 6.0 MiB after (simulated GPU)"


def test_it_is_shown_once_and_left_open_nowhere(leak):
    """Does pyplot know nothing of the figure, so that a cell shows its result and nothing else?"""
    import matplotlib.pyplot as plt

    plot(leak)
    assert plt.get_fignums() == []


def test_the_picture_has_words(leak):
    """Does the output describe itself for those who cannot see it, in HTML as in plain text?"""
    figure = plot(leak)
    data, metadata = figure._repr_mimebundle_()
    assert f'alt="{figure.alt}"' in data["text/html"]
    assert data["text/plain"] == metadata["image/png"]["alt"] == figure.alt
    for fact in ("simulated GPU", "13 steps", "grows 1.0 MiB per step", "from 4.0 MiB to 16.0 MiB", "17.0 MiB"):
        assert fact in figure.alt


def test_words_cannot_break_out_of_the_page(leak):
    """GIVEN a prediction with markup in it THEN the alternative text is escaped."""
    data, _ = plot(leak, prediction='"><script>')._repr_mimebundle_()
    assert "<script>" not in data["text/html"]


def test_it_says_nothing_on_standard_error(leak, capfd):
    plot(leak).png()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"plot\(trace\).*before=first, after=second"),
        ({"before": 1}, "before=first, after=second"),
        ({"trace": [1, 2]}, r"ag\.record.* given list"),
        ({"trace": make_trace([])}, "no steps"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(RecordError, match=message):
        plot(**arguments)


def test_a_real_recording_is_drawn():
    """Do the plots read the recorder's own Trace?"""
    import torch

    import autograder as ag

    device = simgpu.enable()
    kept = []
    trace = ag.record(lambda: kept.append(torch.ones(1 << 18, device=device)), steps=5, device=device)
    figure = plot(trace)
    np.testing.assert_allclose(lines(figure)["allocated"].get_ydata() * MIB, trace.allocated)
    assert figure.get_suptitle() == "Allocated memory grows 1.0 MiB per step (simulated GPU)"
