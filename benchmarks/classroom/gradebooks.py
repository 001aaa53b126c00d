"""Compares two gradebooks row by row, by what their rows are about; random ids and times of grading aside."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, inspect, text

_QUERIES = {
    "student": "select id, first_name, last_name, email, lms_user_id from student",
    "assignment": "select name, duedate, course_id from assignment",
    "notebook": "select n.name, a.name from notebook n join assignment a on n.assignment_id = a.id",
    "submitted_assignment": (
        "select a.name, s.student_id, s.timestamp, s.extension "
        "from submitted_assignment s join assignment a on s.assignment_id = a.id"
    ),
    "submitted_notebook": (
        "select n.name, s.student_id, sn.flagged, sn.late_submission_penalty from submitted_notebook sn "
        "join notebook n on sn.notebook_id = n.id join submitted_assignment s on sn.assignment_id = s.id"
    ),
    "base_cell": (
        "select c.name, c.type, n.name from base_cell c left join notebook n on c.notebook_id = n.id"
    ),
    "source_cell": (
        "select c.name, n.name, c.cell_type, c.locked, c.source, c.checksum "
        "from source_cell c left join notebook n on c.notebook_id = n.id"
    ),
    "grade": (
        "select c.name, s.student_id, n.name, g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade "
        "from grade g join base_cell c on g.cell_id = c.id join submitted_notebook sn on g.notebook_id = sn.id "
        "join notebook n on sn.notebook_id = n.id join submitted_assignment s on sn.assignment_id = s.id"
    ),
    "comment": (
        "select c.name, s.student_id, n.name, k.auto_comment, k.manual_comment "
        "from comment k join base_cell c on k.cell_id = c.id join submitted_notebook sn on k.notebook_id = sn.id "
        "join notebook n on sn.notebook_id = n.id join submitted_assignment s on sn.assignment_id = s.id"
    ),
}  # fmt: skip


def rows(db_url: str) -> dict[str, list[tuple]]:
    """Return the rows of every table that grading fills, by natural keys, sorted."""
    engine = create_engine(db_url)
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        found = {
            name: sorted((_plain(row) for row in connection.execute(text(query))), key=repr)
            for name, query in _QUERIES.items()
            if name in tables
        }
    engine.dispose()
    return found


def _plain(row) -> tuple:
    """Return a row as every database gives it: SQLite has no booleans."""
    return tuple(int(value) if isinstance(value, bool) else value for value in row)


def differences(one: str, other: str, without: frozenset[str] = frozenset()) -> list[str]:
    """Return what differs between two gradebooks; rows of the students in ``without`` are left out."""
    found = []
    first, second = rows(one), rows(other)
    for table in sorted(first.keys() | second.keys()):
        here, there = (
            {repr(row) for row in side.get(table, []) if not without.intersection(map(str, row))}
            for side in (first, second)
        )
        found += [f"{table}: only in the first: {row}" for row in sorted(here - there)]
        found += [f"{table}: only in the second: {row}" for row in sorted(there - here)]
    return found


def sqlite(root: Path) -> str:
    """Return the address of a course folder's gradebook."""
    return f"sqlite:///{root / 'gradebook.db'}"
