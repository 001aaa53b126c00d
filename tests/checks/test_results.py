"""Does same() accept every spelling of the right results, and say where wrong ones begin to differ?"""

import collections

import numpy
import pytest
import torch
from torch import nn

import autograder as ag
from autograder.errors import CheckFailed


class Mark:
    """A key that only its own identity makes equal; its name in test ids is the same in every process."""

    def __repr__(self):
        return "MARK"


MARK = Mark()
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
        (numpy.array([1.0, 2.0]), [1.0, 2.0]),
        ([[1, 2], (3, 4)], numpy.array([[1, 2], [3, 4]])),
        (numpy.array([1.0, 2.0]), torch.tensor([1.0, 2.0])),
        ([numpy.float32(0.5), numpy.int64(2), numpy.bool_(True)], [0.5, 2, True]),
        (numpy.longdouble(1.5), 1.5),
        ((1, [2]), [1, (2,)]),
        ([1, 2], Pair(1, 2)),
        (nn.Parameter(torch.ones(2)), torch.ones(2)),
        (nn.Buffer(torch.ones(2)), torch.ones(2)),
        (collections.OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        ({("a", torch.float32): 1}, {("a", torch.float32): 1}),
        ({1, 2}, {2, 1}),
        ({MARK: 1}, {MARK: 1}),
        (10**30, 10**30),
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
        (numpy.array([1.0, 2.0]), [1.0, 3.0], "results at [1]: expected 3; got 2"),
        (numpy.array([1.0, 2.0]), [1.0], "expected a list of 1; got a list of 2"),
        (numpy.array([[1.0]]), [1.0], "results at [0]: expected 1.0; got a list of 1"),
        (numpy.ones(2), torch.ones(3), "expected a tensor of shape (3,); got an array of shape (2,)"),
        (numpy.array(["a"]), [1.0], "expected plain tensors, arrays and numbers; got an array of <U1"),
        ((1, 2), [2, 1], "results at [0]: expected 2; got 1"),
        ({1, 2}, {1, 3}, "expected {1, 3}; got {1, 2}"),
        (numpy.float32(2), 1, "expected 1; got 2"),
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


class LyingList(list):
    """Five wrong numbers that say they are one right one."""

    def __iter__(self):
        return iter([1.0])

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return 1.0

    def __eq__(self, other):
        return True

    __hash__ = None


class LyingTuple(tuple):
    __slots__ = ()
    __iter__ = LyingList.__iter__
    __len__ = LyingList.__len__
    __getitem__ = LyingList.__getitem__


class LyingDict(dict):
    def items(self):
        return [("a", 1.0)]

    def __iter__(self):
        return iter("a")

    def __getitem__(self, key):
        return 1.0

    __len__ = LyingList.__len__


class LyingText(str):
    __slots__ = ()

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class LyingFloat(float):
    def __float__(self):
        return 1.0

    __index__ = __float__


class LyingKey:
    def __hash__(self):
        return hash("a")

    def __eq__(self, other):
        return True


class LyingTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return torch.ones(2)


class LyingArray(numpy.ndarray):
    def astype(self, *_):
        return numpy.ones(2)

    def tolist(self):
        return [1.0, 1.0]


class Pretender:
    """No list at all, but isinstance() says so."""

    @property
    def __class__(self):
        return list

    __iter__ = LyingList.__iter__
    __len__ = LyingList.__len__


def lying_instance():
    """A plain tensor whose methods were replaced on the instance."""
    tensor = torch.zeros(2)
    tensor.detach = tensor.to = tensor.cpu = lambda *_, **__: torch.ones(2)
    return tensor


@pytest.mark.parametrize(
    "actual, expected",
    [
        (LyingList([2.0] * 5), [1.0]),
        (LyingList([2.0]), [1.0]),
        (LyingTuple([2.0]), [1.0]),
        (LyingDict(a=2.0), {"a": 1.0}),
        (LyingDict(b=1.0), {"a": 1.0}),
        (LyingText("no"), "yes"),
        (LyingFloat(2.0), 1.0),
        ({LyingKey(): 1.0}, {"a": 1.0}),
        ({LyingKey()}, {"a"}),
        ({(LyingKey(),): 1.0}, {("a",): 1.0}),
        (numpy.zeros(2).view(LyingArray), torch.ones(2)),
        (numpy.zeros(2).view(LyingArray), [1.0, 1.0]),
        (type("float32", (numpy.float32,), {"__module__": "numpy", "__array__": lambda *_: numpy.ones(())})(2), 1.0),
        (Pretender(), [1.0]),
        (lying_instance(), torch.ones(2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_lies_about_itself_does_not_pass(actual, expected):
    assert ag_says_wrong(actual, expected)
    assert ag_says_wrong([actual], [expected])


def ag_says_wrong(actual, expected):
    with pytest.raises(CheckFailed) as caught:
        ag.check.same(actual, expected)
    return caught.value.rule == "wrong results"


def test_subclasses_that_tell_the_truth_pass():
    """Do exact types cost the honest learner anything?"""
    honest = type("Honest", (list,), {})
    ag.check.same(honest([type("Metre", (float,), {})(2.0), type("Name", (str,), {})("a")]), [2.0, "a"])


def test_a_tensor_class_that_lies_does_not_pass_and_is_named():
    said = message([LyingTensor(torch.zeros(2))], [torch.ones(2)])
    assert "results at [0]: expected plain tensors, arrays and numbers; got a LyingTensor, which only derives" in said
    assert "derives from Tensor: convert it" in said


def test_a_function_mode_that_was_left_on_changes_nothing():
    """GIVEN a mode that answers every call of torch with True WHEN results differ THEN it is still seen."""

    class Yes(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return torch.tensor(True)

    wrong, right = torch.zeros(2), torch.ones(2)
    with Yes(), pytest.raises(CheckFailed):
        ag.check.same(wrong, right)
