"""nbgrader's settings for this course: run its commands from this folder."""

c = get_config()  # noqa: F821 - given by nbgrader when it reads this file

c.CourseDirectory.course_id = "gpu-memory"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"

# Scores come from a process that the submission cannot reach: see docs/security.md.
c.Autograde.sanitize_preprocessors = [
    "autograder.grading.sanitizing.InstructorMetadata",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "autograder.grading.execution.FarmedExecute",
    "autograder.grading.preprocessor.TrustedVerdict",
    "nbgrader.preprocessors.IgnorePattern",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
# Any file handed in gets a score and a reason.
c.Autograde.exporter_class = "autograder.grading.intake.AnyNotebook"

c.Execute.timeout = 60
c.Execute.skip_cells_with_tag = ""
c.Execute.extra_arguments = ["--IPKernelApp.log_level=ERROR"]

# Students see what failed, not the hidden tests that found it.
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "autograder.grading.feedback.HideTests",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
