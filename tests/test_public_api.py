"""The student API is a promise: a name is added or removed here on purpose, or not at all."""

import autograder as ag


def test_public_names_are_pinned():
    assert ag.__all__ == [
        "Trace", "block_map", "check", "device_module", "diagnose", "explore",
        "hint", "human", "plot", "predict", "record", "setup",
    ]  # fmt: skip


def test_every_public_name_loads():
    for name in ag.__all__:
        assert getattr(ag, name) is not None


def test_a_wrong_name_lists_the_right_ones():
    try:
        ag.recrod
    except AttributeError as error:
        assert "record" in str(error)
    else:
        raise AssertionError("a name that does not exist was found")
