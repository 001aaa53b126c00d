"""The suite itself: what makes it fast must really be on."""

import os

import pytest


@pytest.mark.xdist_group("together")
def test_marked_tests_stay_in_one_process(request):
    """Does xdist keep a group together? It renames the group's tests; some releases of pytest do not let it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("all tests run in one process")
    assert request.node.nodeid.endswith("@together")
