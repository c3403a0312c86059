"""Benchmarks: what each part costs, against what else there is, in one JSON form."""
