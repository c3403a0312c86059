"""Weights from the learner to the generators: vLLM's weight-transfer API, and a gloo backend."""
