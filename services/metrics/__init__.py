"""The one façade of co-evolution metrics: Prometheus, and whatever else is asked for."""

from services.metrics.facade import Metrics

__all__ = ["Metrics"]
