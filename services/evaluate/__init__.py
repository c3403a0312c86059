"""Evaluation and test-time scaling: strategies, judge metrics, benchmark files, results."""
