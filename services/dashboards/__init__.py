"""Grafana dashboards and Prometheus rules, written in Python and generated into deploy/."""
