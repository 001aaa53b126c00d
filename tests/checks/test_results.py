"""Does same() accept every spelling of the right results, and say where wrong ones begin to differ?"""

import collections

import numpy
import pytest
import torch

import autograder as ag
from autograder.errors import CheckFailed

Pair = collections.namedtuple("Pair", "first second")


def message(actual, expected, **options):
    with pytest.raises(CheckFailed) as caught:
        ag.check.same(actual, expected, **options)
    assert caught.value.rule == "wrong results"
    return str(caught.value)


@pytest.mark.parametrize(
    "actual, expected",
    [
        (1.0, 1.0),
        (1, 1.0),
        (torch.tensor(1.5), 1.5),
        (1.5, torch.tensor(1.5, requires_grad=True)),
        (numpy.float64(1.5), 1.5),
        (torch.ones(3, dtype=torch.float64), torch.ones(3)),
        ([1.0, 2.0], (1.0, torch.tensor(2.0))),
        ({"a": [1], "b": "text"}, {"b": "text", "a": [1]}),
        (Pair(1, [2]), Pair(1, [2])),
        (float("nan"), float("nan")),
        (1.0 + 1e-7, 1.0),
        (None, None),
        ([], []),
        (True, True),
        (1 + 2j, 1 + 2j),
        (torch.tensor([True, False]), torch.tensor([True, False])),
    ],
    ids=repr,
)
def test_equal(actual, expected):
    assert ag.check.same(actual, expected) == 1


def test_devices_do_not_matter(device):
    assert ag.check.same([torch.arange(4, device=device)], [torch.arange(4)], points=3) == 3


def test_the_line_says_what(capfd):
    ag.check.same(1, 1, what="the losses")
    assert capfd.readouterr().out == "passed: the losses as expected\n"


@pytest.mark.parametrize(
    "actual, expected, says",
    [
        (1.0, 1.1, "wrong results: results: expected 1.1; got 1 (off by 0.1)."),
        ([1, 2, 4], [1, 2, 3], "results at [2]: expected 3; got 4 (off by 1)"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "results at ['a'][1]: expected 3; got 2"),
        ([1, 2], [1, 2, 3], "expected a list of 3; got a list of 2"),
        ({"a": 1}, {"b": 1}, "expected keys 'b'; got keys 'a'"),
        (torch.zeros(2), torch.zeros(3), "expected a tensor of shape (3,); got a tensor of shape (2,)"),
        (torch.zeros(1), 0.0, "expected 0.0; got a tensor of shape (1,)"),
        ([0.0], torch.zeros(1), "expected a tensor of shape (1,); got a list of 1"),
        (torch.zeros(1), [0.0], "expected a list of 1; got a tensor of shape (1,)"),
        ("1", 1, "expected 1; got '1'"),
        (1, "1", "expected '1'; got 1"),
        (0.0, float("nan"), "expected nan; got 0"),
        (float("inf"), 0.0, "expected 0; got inf"),
        (3, None, "expected None; got 3"),
    ],
)
def test_different(actual, expected, says):
    assert says in message(actual, expected)


def test_a_tensor_says_where_it_differs_and_by_how_much(device):
    expected = torch.zeros(2, 3)
    actual = torch.zeros(2, 3, device=device)
    actual[1, 0], actual[1, 2] = 0.5, -2.0
    said = message(actual, expected, what="the gradients")
    assert "the gradients at [1, 0]: expected 0; got 0.5 (2 of 6 values differ, by up to 2)" in said


def test_tolerances_are_respected():
    assert "off by" in message(1.001, 1.0)
    ag.check.same(1.001, 1.0, rtol=1e-2)
    ag.check.same(0.001, 0.0, atol=1e-2)


def test_a_forgotten_return_is_recognised():
    said = message(None, [1.0, 2.0], exercise="fix_total")
    assert said == (
        "wrong results: results: expected a list of 2; got None. "
        'A function without `return` gives None. Try ag.hint("fix_total").'
    )


def test_a_notebook_shows_only_the_message():
    with pytest.raises(CheckFailed) as caught:
        ag.check.same(1, 2)
    assert caught.value._render_traceback_() == ["CheckFailed: wrong results: results: expected 2; got 1 (off by 1)."]
