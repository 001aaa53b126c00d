"""Names that stand for students: stable, unlike any id, and only the key tells who is who."""

from __future__ import annotations

import re
import stat

from autograder.grading.anonymous import Anonymous


def test_a_student_has_one_name_per_course(tmp_path):
    """Is a name the same in every run of a course, and another in another course?"""
    first, again = (Anonymous(tmp_path / "key").name("zoë müller") for _ in range(2))
    assert first == again and re.fullmatch(r"student-[0-9a-f]{10}", first)
    assert Anonymous(tmp_path / "other").name("zoë müller") != first
    assert Anonymous(tmp_path / "key").name("ada") != first


def test_the_key_is_its_owners_alone(tmp_path):
    """Can nobody else on the machine read the key?"""
    Anonymous(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
