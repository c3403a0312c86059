"""What is measured side by side, each in a process of its own.

All train the same model on the same groups, with the same loss (clipped policy gradient, mean
over all completion tokens of the update), gradient clipping at norm 1 and AdamW.
"""

LEARNING_RATE = 1e-6
"""Small: the weights, and with them the work, stay what they were at the start."""

GRADIENT_CLIP = 1.0
BETAS = (0.9, 0.95)
CLIP = 0.2
"""Bounds of the policy ratio on both sides."""
