"""Is the slope right, also where a straight average would be wrong?"""

from autograder.trace import Counters, robust_slope
from autograder.trace.samples import sample_between


def test_a_straight_line_gives_its_rate_exactly():
    assert robust_slope([7 + 512 * i for i in range(20)]) == 512.0


def test_a_constant_gives_zero_exactly():
    assert robust_slope([123456789] * 20) == 0.0


def test_one_odd_step_moves_nothing():
    assert robust_slope([0] * 10 + [10**9] + [0] * 9) == 0.0


def test_a_cycle_is_not_growth():
    """Gradients that are set free every fourth step are no leak."""
    assert robust_slope([3, 3, 3, 1] * 5) == 0.0


def test_a_stair_is_growth():
    assert robust_slope([i // 4 for i in range(24)]) > 0


def test_a_long_series_is_thinned_but_keeps_its_rate():
    assert abs(robust_slope([4 * i for i in range(3000)]) - 4) < 1e-9


def test_too_few_values_have_no_slope():
    assert robust_slope([]) == robust_slope([5]) == 0.0


def test_a_sample_takes_levels_as_they_are_and_counts_as_differences():
    before = Counters(10, 20, 30, 4, 1, 100, 2, 200, 7)
    after = Counters(11, 21, 31, 6, 1, 100, 5, 260, 7)
    assert sample_between(3, before, after) == (3, 11, 21, 31, 2, 0, 0, 3, 60, 0)
