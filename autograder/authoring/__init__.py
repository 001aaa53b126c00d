"""From lessons/*.py to solutions/, notebooks/ and autograder/data/, and the proof that they are right."""

from autograder.authoring.build import build

__all__ = ["build"]
