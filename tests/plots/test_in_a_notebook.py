"""What a notebook run without a person shows: nbconvert, nbgrader, a reader on the web."""

import copy

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

SETUP = """
import torch, autograder as ag
from autograder import simgpu
device = simgpu.enable()
kept = []
trace = ag.record(lambda: kept.append(torch.ones(1 << 18, device=device)), steps=5)
def rerun(steps=6):
    if steps > 20:
        raise ValueError("too many")
    return ag.record(lambda: torch.ones(1 << 18, device=device), steps=steps)
"""
CELLS = {
    "setup": SETUP,
    "predict": 'ag.predict("Memory will", ["stay flat", "grow"])',
    "plot": "ag.plot(trace)",
    "assigned": "picture = ag.block_map()",
    "named": "picture",
    "diagnose": "ag.diagnose(trace)",
    "explore": "ag.explore(rerun, steps=(5, 40))",
    "failing": "ag.explore(lambda steps: rerun(30), steps=(5, 40))",
}


@pytest.fixture(scope="module")
def notebook():
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(source, id=name) for name, source in CELLS.items()]
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    return book


@pytest.fixture
def outputs(notebook):
    return {cell.id: cell.outputs for cell in notebook.cells}


def pictures(outputs):
    return [output for output in outputs if "image/png" in output.get("data", {})]


def test_nothing_is_written_to_standard_error(outputs):
    """Would nbgrader take points away for a warning?"""
    streams = [output for cell in outputs.values() for output in cell if output.get("name") == "stderr"]
    assert streams == []


def test_a_figure_is_shown_once_where_it_is_the_result(outputs):
    """One picture for a plot, none for an assignment, one where the name is the last line."""
    assert [len(pictures(outputs[name])) for name in ("plot", "assigned", "named")] == [1, 0, 1]
    assert outputs["assigned"] == []


def test_explore_leaves_a_static_plot(outputs):
    """Is the default run in the exported notebook, beside the widget that is not?"""
    (picture,) = pictures(outputs["explore"])
    assert "stays flat" in picture["data"]["text/plain"]
    assert "steps = 6" in outputs["explore"][0]["data"]["text/plain"]


def test_a_failing_explore_is_one_message(outputs):
    assert outputs["failing"][-1]["data"]["text/plain"] == "ValueError with steps=5: too many"


def test_the_page_has_alternative_texts_and_no_bare_widgets(notebook):
    """Does the HTML of a notebook without widget state describe every picture, and ask its question in words?"""
    stateless = copy.deepcopy(notebook)
    stateless.metadata.pop("widgets", None)
    page, _ = HTMLExporter().from_notebook_node(stateless)
    assert page.count('<img alt="') == 3
    assert "No description has been provided" not in page
    assert "VBox(children" not in page and "Choose one: stay flat, grow" in page
