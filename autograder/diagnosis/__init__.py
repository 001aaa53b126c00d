"""What grew, where it was allocated, and who holds it; and which lines allocate though nothing grows."""

from .diagnose import diagnose
from .groups import Group
from .holders import Holder, holders
from .peak import PeakReport
from .report import Diagnosis
from .traffic import Traffic, traffic

__all__ = ["Diagnosis", "Group", "Holder", "PeakReport", "Traffic", "diagnose", "holders", "traffic"]
