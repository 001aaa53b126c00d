"""A trace as a small table, in text and in HTML."""

from __future__ import annotations

from html import escape

from autograder.units import human

_DEVICES = {"cuda": "GPU", "simgpu": "simulated GPU", "cpu": "CPU, counted like a GPU"}
_HEAD, _TAIL = 4, 5
_COLUMNS = ("step", "allocated", "reserved", "peak", "allocations", "host to device", "device to host", "syncs")


def as_text(trace) -> str:
    """Return title, the first and last samples, and the figures that matter, as aligned lines."""
    rows = [_COLUMNS, *_rows(trace)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([_title(trace), *lines, _summary(trace)])


def as_html(trace) -> str:
    """Return the same as an HTML table."""
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in _rows(trace))
    return (
        f"<p>{escape(_title(trace))}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p>{escape(_summary(trace))}</p>"
    )


def _title(trace) -> str:
    steady, warm = len(trace.steady), min(trace.warmup, len(trace.samples))
    return f"{trace.title} on {_DEVICES[trace.source]} ({trace.device}): {steady} steps after {warm} of warm-up"


def _summary(trace) -> str:
    text = (
        f"slope {human(trace.slope)} per step, growth {human(trace.growth)}, "
        f"baseline {human(trace.baseline)}, final {human(trace.final)}"
    )
    return text + (f"; ended by {type(trace.error).__name__}" if trace.error is not None else "")


def _rows(trace) -> list[tuple[str, ...]]:
    samples = trace.samples
    if len(samples) <= _HEAD + _TAIL + 1:
        return [_row(sample) for sample in samples]
    gap = ("...",) * len(_COLUMNS)
    return [*map(_row, samples[:_HEAD]), gap, *map(_row, samples[-_TAIL:])]


def _row(sample) -> tuple[str, ...]:
    memory = (human(nbytes) for nbytes in (sample.allocated, sample.reserved, sample.peak))
    to_device = _copies(sample.h2d_count, sample.h2d_bytes)
    to_host = _copies(sample.d2h_count, sample.d2h_bytes)
    return (str(sample.step), *memory, str(sample.allocations), to_device, to_host, str(sample.syncs))


def _copies(count: int, nbytes: int) -> str:
    return f"{count} ({human(nbytes)})" if count else "0"
