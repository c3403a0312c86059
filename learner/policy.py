"""The model as the learner sees it: tokens in, log-probabilities of completion tokens out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from contracts.errors import UserError
from learner.attention import NAME, Blocks, register
from learner.logprobs import LogitRule, token_logprobs
from learner.shared_prefix import Layout


class Head(nn.Module):
    """The output embedding, applied without ever holding all logits."""

    def __init__(self, output: nn.Module, rule: LogitRule) -> None:
        super().__init__()
        self.output = output
        self.rule = rule

    def forward(self, hidden: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies [T] of ``tokens`` [T] from ``hidden`` [T, H]."""
        bias = getattr(self.output, "bias", None)
        return token_logprobs(hidden, self.weight, bias, tokens, self.rule)

    @property
    def weight(self) -> nn.Parameter:
        """The output embedding [V, H]."""
        weight: nn.Parameter = self.output.weight  # type: ignore[assignment]
        return weight


class Policy(nn.Module):
    """A causal language model of transformers, asked for completion tokens only.

    Args:
        model: any architecture with a decoder and an output embedding.
        temperature: of the sampler; log-probabilities are those of the tempered model.
    """

    def __init__(self, model: Any, temperature: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.head = Head(model.get_output_embeddings(), logit_rule(model.config, temperature))

    def forward(
        self,
        input_ids: Tensor,
        positions: Tensor,
        blocks: Blocks | None,
        source: Tensor,
        tokens: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy of each completion token.

        Args:
            input_ids, positions: int64 [B, L].
            blocks: of a row of groups with shared prefixes; None for plain causal rows,
                padded at the end.
            source: int64 [T] into the B * L slots; tokens: int64 [T].

        Returns:
            Two float tensors [T], in nats; the entropy has no gradient.
        """
        more: dict[str, Any] = {}
        if blocks is not None:
            # A mask of four dimensions is passed on as it is; our attention does not read it.
            unread = torch.zeros(1, 1, 1, 1, device=input_ids.device)
            more = {"attention_mask": unread, "shared_prefix": blocks}
        decoder = self.model.get_decoder()
        states = decoder(
            input_ids=input_ids, position_ids=positions, use_cache=False, **more
        ).last_hidden_state
        picked = states.flatten(0, 1).index_select(0, source)
        result: tuple[Tensor, Tensor] = self.head(picked, tokens)
        return result


def inputs(layout: Layout) -> tuple[Any, ...]:
    """What a ``Policy`` is called with for a micro-batch."""
    return layout.input_ids, layout.positions, layout.blocks, layout.source, layout.tokens


def logit_rule(config: Any, temperature: float) -> LogitRule:
    """What this architecture does to its logits behind the output embedding."""
    config = config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    divisor = getattr(config, "logits_scaling", None) or 1.0
    cap = getattr(config, "final_logit_softcapping", None) or 0.0
    return LogitRule(scale=scale / divisor, cap=cap, temperature=temperature)


def load_model(folder: Path, dtype: torch.dtype, *, trust_remote_code: bool) -> Any:
    """The causal language model in ``folder``, without dropout.

    Raises:
        UserError: the folder holds no such model.
    """
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise UserError(
            "there is no model here (no config.json)",
            where=str(folder),
            remedy="give a Hugging Face model folder",
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="sdpa",
        trust_remote_code=trust_remote_code,
        local_files_only=True,
    )
    return without_dropout(model)


def shares_prefixes(model: Any) -> bool:
    """Set ``model`` to the attention that can share prefixes; False if it takes no such thing."""
    register()
    try:
        model.set_attn_implementation(NAME)
    except (ValueError, AttributeError):
        return False
    return bool(model.config.get_text_config()._attn_implementation == NAME)


def window_of(model: Any) -> int | None:
    """Longest sequence in which every layer still sees every token; None: any."""
    config = model.config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((int(window) for window in windows if window), default=None)


def without_dropout(model: nn.Module) -> nn.Module:
    """Switch every dropout off: the policy ratio is between equal networks or it is noise."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


def reference_logprobs(model: Any, ids: Tensor, temperature: float) -> Tensor:
    """The model's own log-probabilities of a plain row ``ids`` [1, L], to check ``Policy`` by.

    Returns:
        [L - 1]: of token t + 1 at place t.
    """
    logits = model(input_ids=ids, use_cache=False).logits
    logits = logits if logits.dtype == torch.float64 else logits.float()
    picked = torch.log_softmax(logits[0, :-1] / temperature, dim=-1)
    return picked.gather(1, ids[0, 1:, None]).squeeze(1)
