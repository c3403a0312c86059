"""A rollout generator: one vLLM engine in one Ray actor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from actors.engine import ACTOR_PID, WORKER_EXTENSION, engine_arguments
from actors.logs import redirect_output
from actors.sleeping import Sleep
from contracts.errors import CoevolveError, IntegrityError, UserError
from contracts.types import Completion, Finish, Generation, IntArray, Prompt, VersionSpan

if TYPE_CHECKING:
    from actors.chat import Chat
    from contracts.config import RunConfig


Update = Literal["none", "under way", "broken"]
FINISHES = ("stop", "length")
UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What the first tokens of a letter that takes several are decoded to."""
ALIVE_SECONDS = 1.0
"""Between two looks at whether the engine still lives."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one batch is sampled.

    ``temperature`` 0 is greedy, with one completion per prompt. ``seed`` fixes all that is
    drawn in the batch, whatever the engine did before.
    """

    completions: int
    max_tokens: int
    temperature: float
    seed: int

    def __post_init__(self) -> None:
        if self.temperature == 0 and self.completions != 1:
            raise ValueError("greedy completions of one prompt are all the same: ask for one")


@dataclass(frozen=True, slots=True)
class Piece:
    """What was sampled since the piece before, as text. The last one brings all of it."""

    text: str
    generation: Generation | None = None


@dataclass(slots=True)
class Request:
    """A prompt on its way through the engine; ``output`` is the queue its completions come in."""

    id: str
    prompt: Prompt
    given: Any
    parameters: Any
    output: Any = None


class Generator:
    """One vLLM engine: prompts in, completions with log-probabilities and versions out.

    The methods named after vLLM's weight-sync client are the engine's side of a weight
    broadcast. While weights are replaced no token is sampled, and afterwards no cache of the
    old weights is left.

    Args:
        name: name in messages.
        config: the run, with devices settled.
        model_folder: the model to start from.
        log: file that takes all output of the engine and its processes.
        worker_extension: qualified name of the class added to vLLM's worker.
    """

    def __init__(
        self,
        name: str,
        config: RunConfig,
        model_folder: Path,
        log: Path,
        worker_extension: str = WORKER_EXTENSION,
    ) -> None:
        redirect_output(log)
        self.name = name
        self._log = log
        self._config = config
        self._model_folder = model_folder
        self._worker_extension = worker_extension
        self._engine: Any = None
        self._chat: Chat
        self._requests = 0
        self._batch = asyncio.Lock()
        self._control = asyncio.Lock()
        self._sleep = Sleep()
        self._update: Update = "none"
        self._no_update = asyncio.Event()
        self._no_update.set()

    async def start(self) -> None:
        """Load the model and start the engine. Weights then have version 0.

        Raises:
            CoevolveError: the engine did not start; its log says more.
        """
        # Imported here: seconds of start-up that only this process has to pay.
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from actors.chat import Chat
        from actors.transfer.registry import register_backends

        register_backends()
        os.environ[ACTOR_PID] = str(os.getpid())
        model = self._config.model
        self._chat = Chat(self._model_folder, trust_remote_code=model.trust_remote_code)
        arguments = engine_arguments(self._config, self._model_folder, self._worker_extension)
        try:
            self._engine = AsyncLLM.from_engine_args(
                AsyncEngineArgs(**arguments), stat_loggers=self._stat_loggers()
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise CoevolveError(
                f"{self.name}: the engine did not start: {error}\n  its log is {self._log}"
            ) from error
        await self._engine.update_weight_version("0")

    def _stat_loggers(self) -> list[Any]:
        """Where the engine's figures go: to Ray's agent on this node, if anybody looks at them."""
        if not self._config.metrics.port:
            return []
        from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger

        return [RayPrometheusStatLogger]

    async def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> AsyncIterator[Generation]:
        """Completions of ``prompts``, prompt by prompt as they end.

        All requests wait in a paused engine with an empty prefix cache, the random stream is
        started anew, and then the engine goes: its schedule and its draws are the same every
        time, whatever was generated before.

        Raises:
            UserError: a prompt leaves no room in the context, or shows an image to a model
                that has no eyes.
            IntegrityError: the last weight update did not come to its end.
        """
        requests = [self._request(prompt, sampling) for prompt in prompts]
        async with self._batch:
            await self._while_alive(self._submit(requests, sampling.seed))
            tasks = [asyncio.ensure_future(self._collect(request)) for request in requests]
            try:
                for finished in asyncio.as_completed(tasks):
                    yield await finished
            finally:
                for task in tasks:
                    task.cancel()
                await self._abort(
                    [r for r, task in zip(requests, tasks, strict=True) if not _ended(task)]
                )

    async def sample(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        """``generate``, all at once."""
        return [generation async for generation in self.generate(prompts, sampling)]

    async def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncIterator[Piece]:
        """One completion of ``prompt`` as it is sampled, piece by piece.

        Raises:
            ValueError: more than one completion is asked for.
            UserError, IntegrityError: see ``generate``.
        """
        from vllm.sampling_params import RequestOutputKind

        if sampling.completions != 1:
            raise ValueError("one completion at a time can be watched")
        request = self._request(prompt, sampling)
        request.parameters.output_kind = RequestOutputKind.CUMULATIVE
        async with self._batch:
            await self._while_alive(self._submit([request], sampling.seed))
            said, finished = "", False
            try:
                while not finished:
                    output = await request.output.get()
                    finished = output.finished
                    text = self._chat.decode(output.outputs[0].token_ids)
                    if finished:
                        yield Piece(text[len(said) :], self._generation(request, output))
                    # A letter of several tokens is held back until it is whole.
                    elif text.startswith(said) and not text.endswith(UNFINISHED):
                        yield Piece(text[len(said) :])
                        said = text
            finally:
                await self._abort([] if finished else [request])

    async def _submit(self, requests: Sequence[Request], seed: int) -> None:
        """Put all requests into the engine, in order, and let it go."""
        async with self._control:
            if self._sleep.lent:
                raise IntegrityError(f"{self.name} was asked while the learner has its GPU")
            await self._no_update.wait()
            if self._update == "broken":
                raise IntegrityError(f"{self.name}: the last weight update did not end")
            await self._pause()
            try:
                for request in requests:
                    request.output = await self._engine.add_request(
                        request.id, request.given, request.parameters
                    )
                await self.call_worker("reseed", seed)
            finally:
                await self._engine.resume_generation()

    async def _pause(self) -> None:
        """Stop sampling and drop all caches; completions under way are kept.

        What vLLM's ``pause_generation`` does, without the 20 ms it sleeps at the end for outputs
        that are on their way to be heard first: nothing here depends on that order.
        """
        await self._engine.renderer.clear_mm_cache_async()
        await self._engine.engine_core.pause_scheduler_async(mode="keep", clear_cache=True)

    async def _while_alive(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` with the engine. One that has died in between would never answer.

        Raises:
            EngineDeadError: of vLLM; the engine's process is gone.
        """
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.wait([task], timeout=ALIVE_SECONDS)
            if not task.done() and self._engine.errored:
                task.cancel()
                raise self._engine.dead_error
        await task

    async def _abort(self, requests: Sequence[Request]) -> None:
        """Take requests that nobody waits for any more out of the engine."""
        if requests and self._engine is not None:
            await self._engine.abort([request.id for request in requests])

    def _request(self, prompt: Prompt, sampling: Sampling) -> Request:
        """One prompt as a request for n completions.

        Raises:
            UserError: no room in the context, or an image for a model without eyes.
        """
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        tokens = self._chat.encode(prompt)
        room = self._config.model.max_context - len(tokens)
        if room < 1:
            raise UserError(
                f"a prompt of {len(tokens)} tokens leaves no room for a completion",
                where=f"prompt {prompt.id}",
                remedy=f"raise model.max_context ({self._config.model.max_context})",
            )
        parameters = SamplingParams(
            n=sampling.completions,
            max_tokens=min(sampling.max_tokens, room),
            temperature=sampling.temperature,
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._requests += 1
        return Request(f"request-{self._requests}", prompt, self._given(prompt, tokens), parameters)

    def _given(self, prompt: Prompt, tokens: IntArray) -> Any:
        """A tokenised prompt as vLLM takes it, with its images where it has some."""
        from vllm.inputs.engine import tokens_input

        from actors.chat import images_of

        images = images_of(prompt)
        if not images:
            return tokens_input(tokens.tolist())
        if not self._engine.model_config.is_multimodal_model:
            raise UserError(
                "the prompt shows an image, and the model reads text only",
                where=f"task {prompt.task.id}",
                remedy="use a vision model, or tasks without images",
            )
        from PIL import Image

        opened = [Image.open(path).convert("RGB") for path in images]
        return {"prompt_token_ids": tokens.tolist(), "multi_modal_data": {"image": opened}}

    async def _collect(self, request: Request) -> Generation:
        """Wait for the n completions of one prompt."""
        output = await request.output.get()
        while not output.finished:
            output = await request.output.get()
        return self._generation(request, output)

    def _generation(self, request: Request, output: Any) -> Generation:
        """What the engine has at the end of a request."""
        by_index = sorted(output.outputs, key=lambda one: one.index)
        return Generation(
            prompt=request.prompt,
            prompt_tokens=np.asarray(output.prompt_token_ids, dtype=np.int32),
            completions=tuple(self._completion(request.prompt, one) for one in by_index),
        )

    def _completion(self, prompt: Prompt, output: Any) -> Completion:
        tokens: IntArray = np.asarray(output.token_ids, dtype=np.int32)
        logprobs = np.asarray(output.logprobs.logprobs, dtype=np.float32)
        if len(logprobs) != len(tokens):
            raise IntegrityError(
                f"{self.name}: {len(tokens)} tokens with {len(logprobs)} log-probabilities"
            )
        finish: Finish = output.finish_reason if output.finish_reason in FINISHES else "abort"
        return Completion(
            id=f"{prompt.id}/{output.index}",
            tokens=tokens,
            logprobs=logprobs,
            finish=finish,
            spans=tuple(
                VersionSpan(span.start, span.end, int(span.version))
                for span in output.weight_versions
            ),
            text=self._chat.decode(tokens),
        )

    async def checksums(self) -> dict[str, str]:
        """SHA-256 of what the engine computes with, by Hugging Face parameter name.

        Raises:
            IntegrityError: its tensor-parallel workers hold unlike copies of a weight.
        """
        first, *others = await self.call_worker("weight_digests")
        for other in others:
            wrong = sorted(name for name in first if other.get(name) != first[name])
            if wrong:
                raise IntegrityError(
                    f"{self.name}: its workers differ in {len(wrong)} of {len(first)} weights, "
                    f"the first is {wrong[0]}"
                )
        return dict(first)

    async def call_worker(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of the worker extension on every worker of the engine."""
        return list(await self._engine.collective_rpc(method, args=arguments))

    async def ping(self) -> None:
        """A sign of life, of this actor and of its engine."""
        await self.call_worker("ping")

    async def unfinished(self) -> int:
        """Completions the engine still owes."""
        return int(self._engine.get_num_unfinished_requests())

    async def version(self) -> int:
        """Version of the weights the engine computes with."""
        return int(await self._engine.get_weight_version())

    async def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Join a transfer group. Leaves the one before it, if there was one."""
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        await self._engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info))

    async def sleep(self) -> None:
        """Lend the GPU's memory to the learner, until the next weight update."""
        async with self._control:
            await self._sleep.begin(self._engine)

    async def start_weight_update(self) -> None:
        """Stop sampling, drop all caches, and get ready for new weights."""
        self._no_update.clear()
        unfinished, self._update = self._update != "none", "under way"
        async with self._control:
            await self._pause()
            await self._sleep.wake(self._engine, "weights")
        if unfinished:
            await self.call_worker("forget_weight_update")
        await self._engine.start_weight_update()

    async def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive weights and load them: all at once, or bucket by bucket (CUDA IPC)."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        await self._engine.update_weights(WeightTransferUpdateRequest(update_info))

    async def finish_weight_update(self, weight_version: str) -> None:
        """Take the new weights into use under ``weight_version`` and go on sampling."""
        await self._engine.finish_weight_update(weight_version)
        await self._sleep.wake(self._engine, "kv_cache")
        await self._engine.resume_generation()
        self._update = "none"
        self._no_update.set()

    async def abandon_weight_update(self) -> None:
        """Give up a broken update: no token is sampled until a whole one has come through."""
        self._update = "broken"
        self._no_update.set()

    async def stop(self) -> None:
        """End the engine and its processes in good order."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await asyncio.to_thread(engine.shutdown)


def _ended(task: asyncio.Task[Generation]) -> bool:
    """Whether a task came to its own end, well or not."""
    return task.done() and not task.cancelled()
