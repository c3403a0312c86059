"""The shape of a model: by name, from a Hugging Face ``config.json``, or by its size alone."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import UserError
from services.bench.flops import Shape

TINY = Shape(3, 128, 256, 4, 2, 32, 101)
"""``services.models.tiny_model``; its vocabulary, give or take a few words."""
SMOLLM2 = Shape(30, 576, 1536, 9, 3, 64, 49_152)
HEAD_DIM = 128
VOCABULARY = 128_000
"""Of a model that is given by its size alone."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What costs and memory need to know of a model. ``parameters`` counts all of them."""

    name: str
    shape: Shape
    parameters: float

    @property
    def kv_bytes(self) -> float:
        """Bytes of the key-value cache of one token, in 16 bits: a key and a value a layer."""
        return 2 * 2.0 * self.shape.layers * self.shape.kv_heads * self.shape.head_dim

    @property
    def matrices(self) -> float:
        """Weights that every token is multiplied by: all but the embedding that is looked up."""
        return self.shape.weights + self.shape.vocabulary * self.shape.hidden

    def forward_flops(self, tokens: float, pairs: float) -> float:
        """Operations of a forward pass of ``tokens``, which attend to ``pairs`` tokens in all.

        See ``services.bench.flops``: 2 a weight and token, 4 a layer, head dimension and pair.
        """
        width = self.shape.heads * self.shape.head_dim
        return 2 * self.matrices * tokens + 4.0 * self.shape.layers * width * pairs


def shape_named(name: str) -> ModelShape:
    """The model called ``tiny`` or ``smollm2``, or that of a folder or ``config.json``.

    Raises:
        UserError: there is none, or it is of no kind that is known here.
    """
    if name == "tiny":
        return _tied("tiny", TINY, tied=True)
    if name == "smollm2":
        return _tied("smollm2", SMOLLM2, tied=True)
    path = Path(name).expanduser()
    file = path / "config.json" if path.is_dir() else path
    try:
        config: dict[str, Any] = json.loads(file.read_text())
        # A vision model keeps its language model in a section of its own.
        config = {**config, **config.get("text_config", {})}
        shape = Shape.of(config)
    except OSError as error:
        raise UserError(
            f"no model and no config.json ({error.strerror})",
            where=name,
            remedy="Use tiny, smollm2, a Hugging Face folder, or --parameters and --layers.",
        ) from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"not the config.json of a Llama-like model ({error})",
            where=str(file),
            remedy="Give --parameters and --layers instead.",
        ) from error
    label = str(config.get("_name_or_path") or path.name or name)
    return _tied(label, shape, tied=bool(config.get("tie_word_embeddings", False)))


def shape_of_size(
    parameters: float,
    layers: int,
    *,
    hidden: int | None = None,
    kv_heads: int | None = None,
    intermediate: int | None = None,
    vocabulary: int = VOCABULARY,
) -> ModelShape:
    """A Llama-like model of so many parameters and layers, where nothing else is known.

    A layer of width h has about 12 h^2 weights (4 h^2 in attention, 8 h^2 in the three matrices
    of a gated feed-forward part of width 8/3 h), and the two embeddings have 2 V h.
    """
    if hidden is None:
        # 12 L h^2 + 2 V h = N
        a, b = 12.0 * layers, 2.0 * vocabulary
        exact = (-b + math.sqrt(b * b + 4 * a * parameters)) / (2 * a)
        hidden = max(HEAD_DIM, round(exact / HEAD_DIM) * HEAD_DIM)
    heads = max(1, hidden // HEAD_DIM)
    kv = kv_heads or max(1, heads // 4)
    attention = hidden * HEAD_DIM * 2 * (heads + kv)
    if intermediate is None:
        left = parameters - 2.0 * vocabulary * hidden - layers * attention
        intermediate = max(hidden, round(left / (3.0 * layers * hidden)))
    shape = Shape(layers, hidden, intermediate, heads, kv, HEAD_DIM, vocabulary)
    return ModelShape(f"{parameters / 1e9:g}B", shape, parameters)


def _tied(name: str, shape: Shape, *, tied: bool) -> ModelShape:
    embeddings = shape.vocabulary * shape.hidden * (1 if tied else 2)
    return ModelShape(name, shape, float(shape.weights + embeddings))
