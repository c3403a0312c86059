"""Attention of completions to a prompt that is forwarded once, in any transformers model.

Registered with transformers under ``NAME``: a model set to it attends as with ``sdpa``, unless
its decoder is called with ``shared_prefix=Blocks(...)``. Then all tokens of a micro-batch lie
in one row without padding; a prompt attends to itself, and a completion to its prompt and
itself. On a CPU that is done group by group (``group_attention``); on CUDA it is one
FlexAttention over the row, which skips what the mask leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from contracts.errors import UserError
from learner.group_attention import Piece, attend_groups

NAME = "coevolve_shared_prefix"


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where the tokens of a row of N slots belong.

    ``group``, ``segment``: int64 [N]; the group of a slot, and 0 for its prompt or k for its
    k-th completion. ``pieces``: the groups, for a CPU. ``flex``: a BlockMask, for CUDA.
    """

    group: Tensor
    segment: Tensor
    pieces: tuple[Piece, ...] = ()
    flex: Any = None


def visible(group: Tensor, segment: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """Whether slot ``query`` attends to slot ``key``: the definition that all paths follow."""
    same = group[query] == group[key]
    known = (segment[key] == 0) | (segment[key] == segment[query])
    return same & known & (query >= key)


def flex_mask(group: Tensor, segment: Tensor) -> Any:
    """``visible`` as a BlockMask of FlexAttention; N must be a multiple of 128."""
    from torch.nn.attention.flex_attention import create_block_mask

    def rule(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return visible(group, segment, query, key)

    length = len(group)
    return create_block_mask(rule, None, None, length, length, device=group.device)


def register() -> None:
    """Make ``NAME`` known to transformers. Harmless when done again."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attend(  # noqa: PLR0917 (transformers hands them over by position)
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    shared_prefix: Blocks | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The attention function handed to transformers: [B, H, N, D] to [B, N, H, D]."""
    if shared_prefix is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return result
    for name in ("position_bias", "s_aux", "softcap"):
        if options.get(name) is not None:
            raise UserError(
                f"{type(module).__name__} attends with {name}, which a shared prefix cannot",
                where="learner.shared_prefix",
                remedy="set it to off",
            )
    scale = options.get("scaling")
    if shared_prefix.flex is not None:
        return _flex(query, key, value, shared_prefix.flex, scale), None
    return attend_groups(query, key, value, shared_prefix.pieces, scale), None


def _flex(query: Tensor, key: Tensor, value: Tensor, mask: Any, scale: float | None) -> Tensor:
    output = _compiled_flex()(query, key, value, block_mask=mask, scale=scale, enable_gqa=True)
    result: Tensor = output.transpose(1, 2).contiguous()
    return result


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
