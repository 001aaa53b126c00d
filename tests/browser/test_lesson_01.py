"""The journey of lesson 01, as a learner makes it: predict, run, see, turn a knob, fail, fix, pass."""

from playwright.sync_api import expect

from tests.browser.jupyterlab import PATIENCE

ALMOST = """\
def validate(model, batches):
    losses = []
    for x, y in batches:
        losses.append(F.cross_entropy(model(x), y).cpu())
    return losses"""

RIGHT = """\
def validate(model, batches):
    losses = []
    for x, y in batches:
        losses.append(F.cross_entropy(model(x), y).item())
    return losses"""


def test_from_prediction_to_a_passed_check(open_lesson):
    notebook = open_lesson("01_accumulated_metrics")
    page = notebook.page

    # The whole notebook runs up to the empty stub, and says what is missing.
    notebook.run_all()
    notebook.screenshot("lesson01_run_all")
    predict, plot = notebook.cell_with("ag.predict("), notebook.cell_with("ag.plot(before)")
    assert len(notebook.pictures(plot)) == 1
    assert "list losses" in notebook.output(notebook.cell_with("ag.diagnose(before)"))
    assert "NotImplementedError" in notebook.output(notebook.cell_with("after, losses = measure(validate)"))

    # The prediction is remembered, and drawn over what happened.
    choose = predict.get_by_role("button", name="stay flat")
    choose.scroll_into_view_if_needed()
    choose.click()
    expect(predict.get_by_text("Noted")).to_be_visible(timeout=PATIENCE)
    assert "stay flat" not in notebook.alternative_text(plot)
    notebook.run(plot)
    assert "stay flat" in notebook.alternative_text(plot), "the plot must speak of the prediction"
    notebook.screenshot("lesson01_plot", plot)

    # A knob turned redraws the explorer.
    explorer = notebook.cell_with("ag.explore(")
    notebook.run(explorer)
    expect(explorer.locator(".jp-Cell-outputWrapper img")).to_have_count(1, timeout=PATIENCE)
    drawn = notebook.pictures(explorer)
    slider = explorer.get_by_role("slider").first
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    rerun = explorer.get_by_role("button")
    if rerun.count():
        rerun.first.click()
    page.wait_for_timeout(1000)
    notebook.wait_until_idle()
    expect(explorer.locator(".jp-Cell-outputWrapper img")).not_to_have_attribute("src", drawn[0], timeout=PATIENCE)
    notebook.screenshot("lesson01_explorer", explorer)

    # An almost right fix fails, with limit, line and holder.
    exercise = notebook.cell_with("def validate(model, batches)")
    check = notebook.cell_with("verdict(steps=20")
    notebook.type_into(exercise, ALMOST)
    notebook.run(exercise)
    notebook.run(check)
    failure = notebook.output(check)
    assert "not flat" in failure and "losses" in failure and "fix_validate" in failure
    assert "Traceback" not in failure, "the learner sees the message, not our frames"
    notebook.screenshot("lesson01_failing_check", check)

    # The right one passes.
    notebook.type_into(exercise, RIGHT)
    notebook.run(exercise)
    notebook.run(notebook.cell_with("after, losses = measure(validate)"))
    notebook.run(check)
    assert "passed" in notebook.output(check)
    assert "Error" not in notebook.output(check)
    notebook.screenshot("lesson01_passed", check)
