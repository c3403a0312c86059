"""The report of a run, or of several compared: one HTML file that needs nothing else."""

from services.report.comparison import write_comparison
from services.report.page import write_report

__all__ = ["write_comparison", "write_report"]
