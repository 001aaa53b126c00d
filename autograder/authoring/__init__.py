"""From lessons/*.py to solutions/, notebooks/ and autograder/data/, and the proof that they are right."""

from autograder.authoring.build import build
from autograder.authoring.report import Report
from autograder.authoring.verify import check, inspect

__all__ = ["Report", "build", "check", "inspect"]
