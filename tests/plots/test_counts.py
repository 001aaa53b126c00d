"""Does a figure show what was counted at each step, beside one another for two recordings?"""

import numpy as np
import pytest

from autograder.errors import RecordError
from autograder.plots import explore, explorer, plot, predict
from autograder.trace.samples import Sample
from tests.plots.traces import make_trace

MIB = 1 << 20


def counted(h2d, syncs, late=0):
    """Return a trace of so many copies of 1 MiB to the device and waits at each step, and waits after the loop."""
    trace = make_trace([MIB] * len(h2d))
    rows = [Sample(i, MIB, MIB, MIB, 0, n, n * MIB, 0, 0, w) for i, (n, w) in enumerate(zip(h2d, syncs, strict=True))]
    trace.samples, trace.steady = rows, rows[trace.warmup :]
    trace.after_loop = Sample(len(rows), MIB, MIB, MIB, 0, 0, 0, 0, 0, late)
    for name in ("allocations", "h2d_count", "h2d_bytes", "d2h_count", "d2h_bytes", "syncs"):
        setattr(trace, name, np.array([getattr(row, name) for row in rows]))
    return trace


def marks(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_each_panel_holds_the_counts_of_each_step():
    """GIVEN two columns THEN two panels, each with one mark per step at what was counted."""
    figure = plot(counted([2] * 10, [5] * 10), counts=("syncs", "h2d_count"))
    first, second = figure.axes
    np.testing.assert_array_equal(marks(first)["recorded"].get_ydata(), [5] * 10)
    np.testing.assert_array_equal(marks(second)["recorded"].get_ydata(), [2] * 10)
    assert figure.get_suptitle() == "Syncs: 5 per step (simulated GPU)"
    assert "copies to the device 2 per step" in figure.alt


def test_before_and_after_stand_side_by_side_with_what_came_after_the_loop():
    """GIVEN one wait after the loop THEN it is drawn one place further right, and the axis says so."""
    figure = plot(before=counted([1] * 8, [3] * 8), after=counted([1] * 8, [0] * 8, late=1), counts="syncs")
    (axes,) = figure.axes
    before, after = marks(axes)["before"], marks(axes)["after"]
    assert len(before.get_xdata()) == 8 and len(after.get_xdata()) == 9
    assert after.get_ydata()[-1] == 1 and set(before.get_xdata()).isdisjoint(after.get_xdata())
    assert "after the loop" in axes.get_xlabel()
    assert figure.get_suptitle() == "Syncs per step: 3 before, 0 after (simulated GPU)"


def test_bytes_have_a_unit():
    figure = plot(counted([3] * 8, [0] * 8), counts="h2d_bytes")
    assert "(MiB)" in figure.axes[0].get_ylabel()
    assert figure.get_suptitle().startswith("Copied to the device: 3.0 MiB per step")


def test_a_column_that_is_not_counted_is_refused():
    with pytest.raises(RecordError, match="plot\\(counts=...\\) can draw allocations, .*; it was given 'waits'"):
        plot(counted([1] * 8, [1] * 8), counts="waits")


@pytest.mark.parametrize(("choice", "said"), [("5", ": right."), ("never", ". Measured: 5.")])
def test_a_prediction_about_counts_is_judged_by_the_outcome(choice, said):
    """GIVEN the choice that came true THEN the figure says whether it was the learner's, in every kind of plot."""
    predict("Waits per step", ["never", "5"], answer=choice)
    trace = counted([1] * 8, [5] * 8)
    pictures = (plot(trace, counts="syncs", outcome="5"), plot(trace, outcome="5"),
                plot(before=trace, after=trace, outcome="5"))  # fmt: skip
    for figure in pictures:
        assert f'You predicted "{choice}"{said}' in figure.alt
        assert said in figure.axes[0].get_title(loc="left")


def test_without_a_prediction_the_outcome_is_told(flat):
    assert "Measured: higher." in plot(flat, outcome="higher").alt


def test_two_recordings_can_have_other_names(leak, flat):
    """Are names other than before and after in the legend and in the title?"""
    figure = plot(before=leak, after=flat, names=("training", "validation"))
    assert {"training", "peak validation"} <= {line.get_label() for line in figure.axes[0].get_lines()}
    assert figure.get_suptitle() == "Training: grows 1.0 MiB per step. Validation: stays flat (simulated GPU)"


def test_the_title_names_the_peak_whichever_of_the_two_is_higher():
    """GIVEN a second recording with the higher peak and more reserved THEN the title is about the peaks."""
    low = make_trace([3 * MIB] * 8, [5 * MIB] * 8, [6 * MIB] * 8)
    high = make_trace([3 * MIB] * 8, [9 * MIB] * 8, [10 * MIB] * 8)
    title = plot(before=low, after=high, names=("training", "validation")).get_suptitle()
    assert title == "Peak 5.0 MiB training, 9.0 MiB validation (simulated GPU)"


def test_an_explorer_shows_a_figure_as_it_is(monkeypatch):
    """GIVEN a function that returns a figure of counts THEN the explorer draws no other."""
    monkeypatch.setattr(explorer, "can_show_widgets", lambda: False)
    figure = explore(lambda n=1: plot(counted([n] * 8, [n] * 8), counts="syncs"), n=(1, 5))
    assert figure.get_suptitle() == "Syncs: 1 per step (simulated GPU)"
