"""What does a learner's JupyterLab look like before any lesson: the right notebook, working widgets, no clutter?"""

import nbformat
import pytest

from tests.browser.jupyterlab import Notebook

WIDGET = """\
import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import display

slider, picture = ipywidgets.IntSlider(value=1, min=1, max=9, description="steps"), ipywidgets.Output()

def draw(change=None):
    picture.clear_output(wait=True)
    figure, axes = plt.subplots()
    axes.plot(range(slider.value))
    with picture:
        display(figure)
    plt.close(figure)

slider.observe(draw, "value")
draw()
display(slider, picture)
"""


@pytest.fixture
def course(tmp_path):
    """A course of one start lesson with a widget, a stub and a check."""
    new_code = nbformat.v4.new_code_cell
    cells = [nbformat.v4.new_markdown_cell("# Start"), new_code(WIDGET), new_code("def answer():\n    return 0"),
             new_code("assert answer() == 42, 'not flat'\nprint('passed')")]  # fmt: skip
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "notebooks" / "00_start_here" / "00_start_here.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return tmp_path


def test_fail_fix_pass_with_a_widget(course, page, start_lab):
    """GIVEN the address that was printed WHEN a learner runs, moves, edits and runs again THEN the page follows."""
    lab = start_lab(course)
    notebook = Notebook(page, lab, "00_start_here/00_start_here.ipynb")
    notebook.run_all()

    widget = notebook.cell_with("IntSlider")
    before = notebook.pictures(widget)
    widget.get_by_role("slider").press("ArrowRight")
    notebook.wait_until_idle()
    page.wait_for_timeout(1500)
    after = notebook.pictures(widget)
    assert len(before) == len(after) == 1 and before != after, "moving the slider must redraw the picture"

    check = notebook.cell_with("assert answer()")
    assert "AssertionError: not flat" in notebook.output(check)

    exercise = notebook.cell_with("def answer")
    notebook.type_into(exercise, "def answer():\n    return 42")
    notebook.run(exercise)
    notebook.run(check)
    assert "passed" in notebook.output(check)

    notebook.save()
    assert "return 42" in (course / "my_work/00_start_here/00_start_here.ipynb").read_text()
    assert "return 42" not in (course / "notebooks/00_start_here/00_start_here.ipynb").read_text()


def test_no_teachers_tools_no_questions_no_errors(course, page, start_lab):
    """Is the window free of nbgrader's menus, of dialogs, and the server's log of errors?"""
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    lab = start_lab(course)
    notebook = Notebook(page, lab, "00_start_here/00_start_here.ipynb")
    notebook.screenshot("learners_window")
    assert page.get_by_role("menuitem", name="Nbgrader").count() == 0
    assert page.locator(".jp-Dialog").count() == 0
    assert complaints == []
    log = "".join(lab.log)
    assert "nbgrader" not in log and "[E " not in log and "Traceback" not in log
