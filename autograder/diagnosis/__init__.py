"""What grew, where it was allocated, and who holds it."""

from .diagnose import diagnose
from .groups import Group
from .holders import Holder, holders
from .report import Diagnosis

__all__ = ["Diagnosis", "Group", "Holder", "diagnose", "holders"]
