"""What an instructor may set in nbgrader_config.py about how submissions are executed: ``c.Grading.sandbox = "required"``."""

from __future__ import annotations

from traitlets import Bool, Enum, Integer, Unicode
from traitlets.config import LoggingConfigurable

from autograder.grading.job import Settings


class Grading(LoggingConfigurable):
    """How and where submissions are executed, for nbgrader's commands, the formgrader and ``autograder grade`` alike."""

    workers = Integer(0, help="Submissions at a time on this machine; 0 means one per core.").tag(config=True)
    scheduler = Unicode("", help="Address of a running Dask scheduler whose workers execute instead.").tag(config=True)
    sandbox = Enum(
        ["required", "auto", "off"],
        "auto",
        help="Confine submissions by bubblewrap: always (or refuse), where it works (or say so), never.",
    ).tag(config=True)
    warm = Bool(True, help="Fork kernels from a process that has imported PyTorch, where that is safe.").tag(config=True)
    memory_mib = Integer(4096, help="MiB that one submission's processes may use together.").tag(config=True)
    processes = Integer(256, help="Processes and threads that one submission may have.").tag(config=True)
    max_output_mib = Integer(20, help="MiB that one notebook may print.").tag(config=True)


def settings_from(grading: Grading, execute, verdict) -> Settings:
    """Return a job's settings.

    ``execute`` and ``verdict`` are the preprocessors whose time limits count (``c.Execute.timeout``,
    ``c.TrustedVerdict.cell_timeout``).
    """
    return Settings(
        outputs=execute.enabled,
        cell_timeout=execute.timeout or 0,
        total_timeout=execute.total_timeout,
        judge_cell=verdict.cell_timeout,
        judge_total=verdict.total_timeout,
        warm=grading.warm,
        sandbox=grading.sandbox,
        memory=grading.memory_mib << 20,
        processes=grading.processes,
        max_output=grading.max_output_mib << 20,
    )
