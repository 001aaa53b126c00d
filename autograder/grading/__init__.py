"""Grading a whole class with nbgrader: scores come from the judge."""
