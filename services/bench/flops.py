"""Floating-point operations of an update, counted from the shape of the model.

A product of [m, k] with [k, n] takes 2 m k n. Backward takes two such products for each of
forward's, so training takes three times the forward pass: 6 per weight and token (Kaplan et
al. 2020, arXiv 2001.08361, 2.1). Attention adds, per layer and per pair of a token and a token
it sees, 2 H D for the score and 2 H D for the sum (Chowdhery et al. 2022, arXiv 2204.02311,
appendix B, there for all pairs; here for the causal ones only). Counted is what the result needs:
products that are made twice to save memory count once, norms and exponentials not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.bench.workload import Work


@dataclass(frozen=True, slots=True)
class Shape:
    """What the count needs of a decoder: layers, widths, heads, vocabulary."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From a ``config.json`` of the Llama or Qwen2 architecture."""
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        return cls(
            layers=config["num_hidden_layers"],
            hidden=hidden,
            intermediate=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // heads,
            vocabulary=config["vocab_size"],
        )

    @property
    def weights(self) -> int:
        """Weights of the decoder's matrices: q, k, v, o, gate, up, down; no embeddings."""
        attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)


def update_flops(shape: Shape, work: Work, *, shared: bool) -> float:
    """Operations of forward and backward of one update, the optimiser's not counted.

    The last token of a completion predicts nothing and is not forwarded.

    Args:
        shape: of the model.
        work: lengths and number of groups.
        shared: each prompt forwarded once for its group, instead of once a completion.
    """
    prompt, inside = work.mix.prompt, work.mix.completion - 1
    copies = 1 if shared else work.size
    tokens = copies * prompt + work.size * inside
    own = prompt * (prompt + 1) // 2
    seen = inside * prompt + inside * (inside + 1) // 2
    pairs = copies * own + work.size * seen
    body = 2 * shape.weights * tokens
    attention = 4 * shape.layers * shape.heads * shape.head_dim * pairs
    head = 2 * shape.hidden * shape.vocabulary * work.size * work.mix.completion
    return 3.0 * work.groups * (body + attention + head)
