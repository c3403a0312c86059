"""Graders: from a response and a gold answer to a grade. Usable without Ray."""

from actors.graders.registry import Grader, grade_completion, grader, quick_grade

__all__ = ["Grader", "grade_completion", "grader", "quick_grade"]
