"""vLLM with nothing of ours around it, to hold the generator against."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.engine import engine_arguments
from actors.logs import redirect_output

if TYPE_CHECKING:
    from actors.generator import Sampling
    from contracts.config import RunConfig
    from contracts.types import Prompt


class BareEngine:
    """``vllm.LLM`` with the engine arguments of a generator, and its environment.

    Args:
        config: the run, with devices settled.
        model_folder: a Hugging Face model folder.
        log: file that takes all output of the engine.
    """

    def __init__(self, config: RunConfig, model_folder: Path, log: Path) -> None:
        redirect_output(log)
        self._config, self._model_folder = config, model_folder
        self._engine: Any = None

    def start(self) -> None:
        """Load the model."""
        from vllm import LLM

        from actors.chat import Chat

        arguments = engine_arguments(self._config, self._model_folder)
        # What serves weight updates only.
        for name in ("worker_extension_cls", "weight_transfer_config"):
            del arguments[name]
        self._engine = LLM(**arguments)
        self._chat = Chat(self._model_folder, trust_remote_code=False)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> tuple[int, float]:
        """Tokens sampled, and seconds of ``LLM.generate`` alone: prompts are tokenised before."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        parameters = SamplingParams(
            n=sampling.completions,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        given = [{"prompt_token_ids": self._chat.encode(p).tolist()} for p in prompts]
        self._engine.reset_prefix_cache()
        started = time.perf_counter()
        outputs = self._engine.generate(given, parameters, use_tqdm=False)
        seconds = time.perf_counter() - started
        return sum(len(c.token_ids) for o in outputs for c in o.outputs), seconds
