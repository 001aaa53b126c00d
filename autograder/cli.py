"""The commands of the course. Each only calls the part of the package that does the work."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from autograder.errors import AutograderError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Lessons = Annotated[list[str] | None, typer.Argument(help="names or numbers; default: all")]
CourseFolder = Annotated[str, typer.Option("--course", help="the course's folder; default: this one")]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
OPTIONS_FIRST = {"allow_extra_args": True, "allow_interspersed_args": False}
"""What follows the first argument is passed on, whatever it looks like."""


@app.command(context_settings=PASS_ON, add_help_option=False)
def learn(context: typer.Context) -> None:
    """Open the course in JupyterLab, on copies that stay yours. Options go to JupyterLab."""
    from autograder.launch import course, lab, workspace

    root = course.course_root()
    for line in workspace.prepare(root).lines():
        print(line)
    raise typer.Exit(lab.start(root, context.args))


@app.command()
def fetch(lesson: Annotated[str, typer.Argument(help="its name or number")] = "") -> None:
    """Put the course's newest notebook of a lesson beside yours, as NAME.new.ipynb."""
    from autograder.launch import course, workspace

    root = course.course_root()
    print(f"The course's notebook is in {workspace.fetch(root, lesson).relative_to(root)}; yours is untouched.")


@app.command()
def progress() -> None:
    """Show which exercises are solved, attempted, untouched."""
    from autograder.journal import standing
    from autograder.launch import course

    print(standing.progress(course.journal(course.course_root())))


@app.command()
def reset(
    lesson: Annotated[str, typer.Argument(help="its name or number")] = "",
    exercise: Annotated[str, typer.Argument(help="its name, as `autograder progress` lists it")] = "",
) -> None:
    """Put the empty exercise back into your notebook; your answer is kept, everything else stays as it is."""
    from autograder.launch import course
    from autograder.launch.reset import reset as put_back

    for line in put_back(course.course_root(), lesson, exercise):
        print(line)


@app.command()
def build(lessons: Lessons = None) -> None:
    """Make solutions/ and notebooks/ from lessons/: all of them, or those named."""
    from autograder import authoring
    from autograder.launch import course

    authoring.build(course.course_root(), lessons or None)


@app.command()
def check(lessons: Lessons = None) -> None:
    """Prove that notebooks match the lessons, stubs fail, answers score 100 %, cheats fail."""
    from autograder import authoring
    from autograder.launch import course

    authoring.check(course.course_root(), lessons or None)


@app.command()
def grade(
    assignment: Annotated[str, typer.Argument(help="its name, as in submitted/STUDENT/ASSIGNMENT")],
    student: Annotated[list[str] | None, typer.Option(help="only this one; may be repeated")] = None,
    workers: Annotated[int, typer.Option(help="submissions at a time; default: one per core")] = 0,
    scheduler: Annotated[str, typer.Option(help="a running Dask scheduler, such as tcp://host:8786")] = "",
    db: Annotated[str, typer.Option(help="the gradebook, such as postgresql+psycopg://user@host/grades")] = "",
    sandbox: Annotated[str, typer.Option(help="required, auto or off; default: the course's settings, else auto")] = "",
    force: Annotated[bool, typer.Option("--force", help="grade again what was graded before")] = False,
    outputs: Annotated[bool, typer.Option(help="run notebooks for their outputs too, not only the checks")] = True,
    json: Annotated[bool, typer.Option("--json", help="the summary as JSON on stdout")] = False,
    folder: CourseFolder = "",
) -> None:
    """Grade a class: parallel, confined, into nbgrader's gradebook.

    Exit status: 0 all graded, 3 graded but somebody should look, 1 some could not be graded, 130 interrupted.
    """
    if not scheduler:
        from autograder.grading.warm import Warm

        Warm.prepare()  # PyTorch is imported there while nbgrader is imported here
    from autograder.grading import command

    wishes = command.Wishes(tuple(student or ()), workers, scheduler, sandbox, force, outputs)
    raise typer.Exit(command.run(folder, assignment, db, wishes, json))


@app.command()
def statistics(
    assignment: str,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    folder: CourseFolder = "",
) -> None:
    """Show what a graded class got wrong: scores, reasons, and which known mistakes answers are like."""
    from autograder.grading import command

    command.show_statistics(folder, assignment, json)


@app.command()
def share(
    assignment: str,
    target: Annotated[str, typer.Argument(help="a new folder")],
    folder: CourseFolder = "",
) -> None:
    """Write a class's graded notebooks and points under names that stand for the students' ids."""
    from autograder.grading import command

    command.share(folder, assignment, target)


@app.command("grade-demo")
def grade_demo() -> None:
    """Grade a small made-up class with nbgrader and show the scores."""
    from autograder.grading import demo
    from autograder.launch import course

    demo.run(course.course_root())


@app.command(context_settings=OPTIONS_FIRST)
def run(
    context: typer.Context,
    script: Annotated[str, typer.Argument(help="a Python file; what follows it goes to the script")],
    module: Annotated[bool, typer.Option("--module", "-m", help="SCRIPT is a module's name, as for python -m")] = False,
    capacity: Annotated[str, typer.Option(help="size of the simulated GPU, such as 8GiB")] = "",
    devices: Annotated[int, typer.Option(help="how many simulated GPUs")] = 1,
    device: Annotated[str, typer.Option(help="simgpu, or cuda for the real one")] = "simgpu",
    steps_from: Annotated[str, typer.Option(help="auto, optimizer, forward, time, or a loop's line")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="report as JSON")] = False,
    output: Annotated[str, typer.Option(help="file for the report, instead of stderr")] = "",
    save_plot: Annotated[str, typer.Option(help="file for a picture, such as memory.png")] = "",
    snapshot: Annotated[str, typer.Option(help="file for PyTorch's memory viewer, such as memory.pickle")] = "",
) -> None:
    """Execute a CUDA script on the simulated GPU and say what its memory did. Options stand before the script."""
    from autograder.run import Options, run_script

    options = Options(capacity, devices, device, steps_from, json, output, save_plot, snapshot, module)
    given = context.args[1:] if context.args[:1] == ["--"] else context.args
    raise typer.Exit(run_script(script, given, options))


@app.command()
def publish(
    repository: Annotated[str | None, typer.Argument(help="OWNER/REPO on GitHub; default: the git remote")] = None,
    branch: Annotated[str, typer.Option(help="the branch that launched notebooks are read from")] = "main",
    remove: Annotated[bool, typer.Option("--remove", help="take every launch link away")] = False,
) -> None:
    """Write launch badges and addresses into README.md and the notebooks, or take them away."""
    from autograder import authoring
    from autograder.launch import course
    from autograder.launch.publish import publish as write_links
    from autograder.launch.publish import unpublish

    root = course.course_root()
    if remove:
        unpublish(root)
        print("Launch links removed.")
    else:
        address = write_links(root, repository, branch)
        print(f"Launch links now point at {address.repository}, branch {address.branch}.")
    authoring.build(root)


def main() -> None:
    """Run a command; turn an error raised on purpose into one message and exit status 1."""
    try:
        app()
    except AutograderError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
