"""Items of ``test_on_gpu.py`` that need a package which is not there."""

import no_such_package_as_this  # noqa: F401


def items(device):
    return ["never"]
