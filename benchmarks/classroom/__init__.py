"""A made-up class for the grading benchmark: any nbgrader course, not one of this course's lessons."""
