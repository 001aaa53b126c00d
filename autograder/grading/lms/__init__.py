"""In and out of learning management systems, as nbgrader's own plugins: Moodle and Canvas."""
