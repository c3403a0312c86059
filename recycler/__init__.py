"""Verified groups into judge and reflection prompts. Pure, seeded, no Ray."""
