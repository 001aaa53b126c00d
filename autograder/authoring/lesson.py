"""A lesson as its author wrote it: one Python file of ``# %%`` cells, parsed into a ``Lesson``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from autograder.errors import LessonError
from autograder.judge.source import exported_names

#: Header keys of each kind of cell; the first is the one that names the kind.
KINDS = {
    "setup": ("setup", "given"),
    "given": ("given",),
    "exercise": ("exercise",),
    "check": ("check", "points"),
    "hint": ("hint",),
    "right": ("right", "name"),
    "wrong": ("wrong", "name", "expects"),
    "reflect": ("reflect", "points"),
}
KEYS = sorted({key for keys in KINDS.values() for key in keys})
FIXTURES = ("right", "wrong")
TEXT_KINDS = ("text", "hint", "reflect")

LESSON_KEYS = ("title", "minutes", "quick_reference", "folklore")

_HEADER = re.compile(r"^# ?%%(?!%)")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LESSON_NAME = re.compile(r"\d\d_[a-z0-9_]+")
_LAYOUT_KEYS = {"lines_to_next_cell", "lines_to_end_of_cell_marker"}


@dataclass(frozen=True)
class Cell:
    """One cell of a lesson source. ``slug`` is the exercise, given part or reflection it belongs to."""

    kind: str
    slug: str | None
    source: str
    markdown: bool
    options: dict
    number: int
    line: int | None

    @property
    def points(self) -> float:
        return self.options.get("points", 0 if self.kind == "reflect" else 1)

    @property
    def name(self) -> str:
        return self.options.get("name", "")


@dataclass(frozen=True)
class Exercise:
    """One exercise with everything that belongs to it."""

    slug: str
    cell: Cell
    checks: tuple[Cell, ...]
    hint: Cell | None
    right: tuple[Cell, ...]
    wrong: tuple[Cell, ...]

    @property
    def points(self) -> float:
        return sum(check.points for check in self.checks)

    @property
    def exports(self) -> tuple[str, ...]:
        return exported_names(self.cell.source)

    @property
    def tiers(self) -> list[str]:
        return hint_tiers(self.hint) if self.hint else []


@dataclass(frozen=True)
class Lesson:
    """A parsed lesson. ``cells`` keeps the author's order; numbers count from 1."""

    path: Path
    title: str
    minutes: int
    cells: tuple[Cell, ...]
    extras: dict = field(default_factory=dict)

    @property
    def slug(self) -> str:
        return self.path.stem

    def of_kind(self, *kinds: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind in kinds]

    @property
    def fixtures(self) -> int:
        return len(self.of_kind(*FIXTURES))

    @property
    def exercises(self) -> dict[str, Exercise]:
        def belonging(kind: str, slug: str) -> tuple[Cell, ...]:
            return tuple(cell for cell in self.of_kind(kind) if cell.slug == slug)

        return {
            cell.slug: Exercise(
                slug=cell.slug,
                cell=cell,
                checks=belonging("check", cell.slug),
                hint=next(iter(belonging("hint", cell.slug)), None),
                right=belonging("right", cell.slug),
                wrong=belonging("wrong", cell.slug),
            )
            for cell in self.of_kind("exercise")
        }

    def fail(self, reason: str, cell: Cell | None = None):
        """Raise ``LessonError`` naming this file and, if known, the cell and its line."""
        raise LessonError(f"{place(self.path, cell)}: {reason}")


def place(path: Path, cell: Cell | None = None) -> str:
    """Say where a fault is: ``lessons/01_x.py, cell 4 (line 31)``."""
    where = f"{path.parent.name}/{path.name}"
    if cell is None:
        return where
    line = f" (line {cell.line})" if cell.line else ""
    return f"{where}, cell {cell.number}{line}"


def parse(path: Path) -> Lesson:
    """Read one lesson source. Raises ``LessonError`` with file, cell, line and reason.

    Only the form is judged here; ``rules.validate`` judges the content.
    """
    path = Path(path)
    if not _LESSON_NAME.fullmatch(path.stem):
        raise LessonError(f"{place(path)}: a lesson is called NN_short_name.py (two digits, lower case, underscores)")
    text = _read(path)
    cells = _split(path, text)
    if not cells or cells[0].cell_type != "raw":
        raise LessonError(
            f"{place(path)}: no header; begin the file with '# ---', '# title: ...', '# minutes: ...', '# ---'"
        )
    about = _front_matter(path, cells[0].source)
    lines = _header_lines(text)
    known_lines = len(lines) == len(cells) - 1
    parsed = tuple(
        _cell(path, cell, number, lines[number - 1] if known_lines else None)
        for number, cell in enumerate(cells[1:], start=1)
    )
    extras = {key: value for key, value in about.items() if key not in ("title", "minutes")}
    return Lesson(path=path, title=about["title"], minutes=about["minutes"], cells=parsed, extras=extras)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LessonError(f"{place(path)}: no such lesson") from None
    except UnicodeDecodeError as error:
        raise LessonError(f"{place(path)}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def _split(path: Path, text: str) -> list:
    import jupytext

    try:
        return jupytext.reads(text, fmt="py:percent").cells
    except Exception as error:
        first_line = str(error).strip().split("\n")[0]
        raise LessonError(f"{place(path)}: jupytext cannot read it: {first_line}") from error


def _header_lines(text: str) -> list[int]:
    return [number for number, line in enumerate(text.split("\n"), start=1) if _HEADER.match(line)]


def _front_matter(path: Path, source: str) -> dict:
    import yaml

    try:
        about = yaml.safe_load(source.strip().strip("-"))
    except yaml.YAMLError as error:
        raise LessonError(f"{place(path)}: the header is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(about, dict):
        raise LessonError(f"{place(path)}: the header must hold 'title: ...' and 'minutes: ...'")
    for key in about:
        if key not in LESSON_KEYS:
            raise LessonError(f"{place(path)}: unknown header entry {key!r}; known: {', '.join(LESSON_KEYS)}")
    if not isinstance(about.get("title"), str) or not about["title"].strip():
        raise LessonError(f"{place(path)}: the header has no title")
    if not isinstance(about.get("minutes"), int) or isinstance(about.get("minutes"), bool) or about["minutes"] < 1:
        raise LessonError(
            f"{place(path)}: minutes must be a whole number of at least 1, found {about.get('minutes')!r}"
        )
    return about


def _cell(path: Path, raw, number: int, line: int | None) -> Cell:
    options = {key: value for key, value in raw.metadata.items() if key not in _LAYOUT_KEYS}
    markdown = raw.cell_type == "markdown"
    draft = Cell("text" if markdown else "demo", None, raw.source, markdown, options, number, line)

    def fail(reason: str):
        raise LessonError(f"{place(path, draft)}: {reason}")

    if raw.cell_type == "raw":
        fail("raw cells are not used in lessons; make it [markdown] or code")
    if "incorrectly_encoded_metadata" in options:
        fail(f'cannot read the cell header {options["incorrectly_encoded_metadata"]!r}; write key="value" pairs')
    for key in options:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            fail(
                f"unknown key {key!r} in the cell header"
                + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(KEYS)}")
            )
    named = [kind for kind in KINDS if kind in options]
    if named == ["setup", "given"]:
        named = ["setup"]
    if len(named) > 1:
        fail(f"a cell has one kind, found {' and '.join(named)}")
    if not named:
        if options:
            fail(f"{' and '.join(options)} without a kind; add one of {', '.join(KINDS)}")
        return draft
    return _kind_cell(draft, named[0], fail)


def _kind_cell(draft: Cell, kind: str, fail) -> Cell:
    options = dict(draft.options)
    slug = options.pop(kind)
    surplus = [key for key in options if key not in KINDS[kind]]
    if surplus:
        fail(f"{', '.join(surplus)} does not belong on a {kind} cell")
    text = draft.source
    if kind in TEXT_KINDS and not draft.markdown:
        text = _uncommented(text) or fail(f"a {kind} cell is text: mark it [markdown] or begin its lines with '# '")
    elif draft.markdown and kind not in TEXT_KINDS:
        fail(f"a {kind} cell must be code")
    if kind == "setup":
        slug = "setup" if slug is True else fail("write setup=true")
    if not isinstance(slug, str) or not _NAME.fullmatch(slug):
        fail(f"{kind}={slug!r} is not a name; use lower-case letters, digits and underscores")
    points = options.get("points", 0)
    if isinstance(points, bool) or not isinstance(points, (int, float)) or not 0 <= points < 1000:
        fail(f"points must be a number from 0, found {points!r}")
    return Cell(kind, slug, text, kind in TEXT_KINDS, options, draft.number, draft.line)


def _uncommented(source: str) -> str:
    """Return comment lines as text; empty if a line is neither a comment nor blank."""
    lines = source.strip().split("\n")
    if not all(line.startswith("#") or not line.strip() for line in lines):
        return ""
    return "\n".join(re.sub(r"^# ?", "", line).rstrip() for line in lines)


def hint_tiers(cell: Cell) -> list[str]:
    """Return the paragraphs of a hint cell, one tier each."""
    paragraphs = re.split(r"\n\s*\n", cell.source.strip())
    return [paragraph.strip() for paragraph in paragraphs if paragraph.strip()]
