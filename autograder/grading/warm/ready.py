"""Imported by the process that children are forked from: this package's own modules, nothing of a lesson or submission.

The simulated GPU is imported, not registered: which device a child uses is its own choice.
"""

import autograder
import autograder.judge.worker
import autograder.simgpu

for name in autograder.__all__:
    getattr(autograder, name)
