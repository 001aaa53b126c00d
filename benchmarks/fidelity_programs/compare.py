"""Two recordings of the same programs, and the errors of one against the other."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass, field

WORST_PEAK, MEDIAN_PEAK, MEDIAN_RESERVED = 0.05, 0.02, 0.10


@dataclass
class Row:
    """One program: relative errors (0.02 is 2 %), None where there is nothing to compare."""

    name: str
    slope: float | None = None
    expected_slope: float | None = None
    allocated: float | None = None
    peak: float | None = None
    reserved: float | None = None
    fault: str = ""

    @property
    def same_slope(self) -> bool:
        return self.slope == self.expected_slope


@dataclass
class Comparison:
    """All programs, and the verdicts that differ: (lesson, trial, check, expected, found)."""

    rows: list[Row]
    verdicts_compared: int = 0
    other_verdicts: list[tuple] = field(default_factory=list)

    def of(self, quantity: str) -> list[float]:
        """The errors of a quantity ("allocated", "peak", "reserved") in all programs that have one."""
        return [error for row in self.rows if (error := getattr(row, quantity)) is not None]

    def missed(self) -> list[str]:
        """The targets that are missed, in words; empty if none is."""
        found = [f"{row.name}: {row.fault}" for row in self.rows if row.fault]
        found += [
            f"{row.name}: slope {row.slope:,.0f} bytes per step, expected {row.expected_slope:,.0f}"
            for row in self.rows
            if not row.fault and not row.same_slope
        ]
        for quantity, summary, limit in (
            ("peak", statistics.median, MEDIAN_PEAK),
            ("peak", max, WORST_PEAK),
            ("reserved", statistics.median, MEDIAN_RESERVED),
        ):
            errors = self.of(quantity)
            if errors and summary(errors) > limit:
                word = "worst" if summary is max else "median"
                found.append(f"{word} error of {quantity}: {summary(errors):.2%}, allowed {limit:.0%}")
        found += [
            f"{lesson}, {trial}, {check}: verdict {actual}, expected {expected}"
            for lesson, trial, check, expected, actual in self.other_verdicts
        ]
        return found


def compare(reference: dict, actual: dict) -> Comparison:
    """The errors of ``actual`` against ``reference``; both are recordings as ``recording.py`` makes them."""
    names = reference["programs"]
    rows = [_row(name, names[name], actual["programs"].get(name)) for name in names]
    rows += [Row(name, fault="not in the reference") for name in actual["programs"] if name not in names]
    comparison = Comparison(rows)
    for lesson, trials in reference.get("verdicts", {}).items():
        for trial, checks in trials.items():
            for check, expected in checks.items():
                found = actual.get("verdicts", {}).get(lesson, {}).get(trial, {}).get(check)
                comparison.verdicts_compared += 1
                if found != expected:
                    comparison.other_verdicts.append((lesson, trial, check, expected, found))
    return comparison


def _row(name: str, expected: dict, actual: dict | None) -> Row:
    if actual is None:
        return Row(name, fault="did not run")
    if len(expected["allocated"]) != len(actual["allocated"]):
        return Row(name, fault=f"{len(actual['allocated'])} steps, expected {len(expected['allocated'])}")
    errors = {
        quantity: _error(max(expected[quantity], default=0), max(actual[quantity], default=0))
        for quantity in ("allocated", "peak", "reserved")
    }
    return Row(name, slope_of(actual["allocated"]), slope_of(expected["allocated"]), **errors)


def slope_of(allocated: list[int]) -> float:
    """Bytes per step after the first two, in which gradients and optimizer state appear: the median step."""
    settled = allocated[2:] if len(allocated) > 3 else allocated
    return (
        statistics.median(after - before for before, after in itertools.pairwise(settled)) if len(settled) > 1 else 0.0
    )


def _error(expected: int, actual: int) -> float | None:
    return abs(actual - expected) / expected if expected > 0 else None


def table(comparison: Comparison) -> str:
    """The comparison as text."""
    width = max((len(row.name) for row in comparison.rows), default=8)
    lines = [f"{'program':{width}}  {'slope':>12}  allocated     peak  reserved"]
    for row in comparison.rows:
        if row.fault:
            lines.append(f"{row.name:{width}}  {row.fault}")
            continue
        slope = f"{row.slope:,.0f}" + ("" if row.same_slope else f" (expected {row.expected_slope:,.0f})")
        lines.append(
            f"{row.name:{width}}  {slope:>12}  {_percent(row.allocated)}  {_percent(row.peak)}  {_percent(row.reserved)}"
        )
    for word, summary in (("median", statistics.median), ("worst", max)):
        shown = [
            _percent(summary(errors) if (errors := comparison.of(q)) else None)
            for q in ("allocated", "peak", "reserved")
        ]
        lines.append(f"{word:{width}}  {'':>12}  {'  '.join(shown)}")
    same = comparison.verdicts_compared - len(comparison.other_verdicts)
    lines.append(f"verdicts: {same} of {comparison.verdicts_compared} the same")
    return "\n".join(lines)


def _percent(error: float | None) -> str:
    return f"{'-' if error is None else f'{error:.2%}':>8}"
