"""One ZeRO-3 rank of the learner in one Ray actor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from actors.gap import Gap, gap_of
from actors.logs import redirect_output
from actors.place import sign_of_life
from actors.waiting import NamedActor, wait_for

if TYPE_CHECKING:
    from ray import ObjectRef

    from actors.transfer.report import TransferReport
    from actors.transfer.sender import Sender
    from contracts.config import RunConfig
    from contracts.types import Generation, Group, Objective, UpdateReport
    from learner.engine import Learner
    from learner.leaning import Leans


class LearnerRank:
    """A rank of the learner. All ranks are called alike, at the same time, by the group.

    Args:
        rank: this rank; 0 sends the weights.
        config: the run, with devices settled.
        model_folder: the model to start from.
        log: file that takes all output of this process.
    """

    def __init__(self, rank: int, config: RunConfig, model_folder: Path, log: Path) -> None:
        redirect_output(log)
        self._rank = rank
        self._config = config
        self._model_folder = model_folder
        self._learner: Learner
        self._sender: Sender | None = None

    @sign_of_life
    def ping(self) -> None:
        """A sign of life, also while the rank is at work."""

    def meeting_place(self) -> tuple[str, int]:
        """Address and free port of this process, for all ranks to meet at."""
        from actors.ports import free_port

        return ray.util.get_node_ip_address(), free_port()

    def start(self, master: str, port: int) -> None:
        """Load the model and join the other ranks. Collective."""
        from learner.engine import Learner

        config = self._config
        self._learner = Learner(
            self._model_folder,
            config.learner,
            dtype=config.model.dtype,
            total_updates=config.total_updates,
            seed=config.seed,
            rank=self._rank,
            world_size=config.learner.ranks,
            master=master,
            port=port,
            trust_remote_code=config.model.trust_remote_code,
            temperature=config.sampling.temperature,
        )

    def update(
        self, minibatches: Sequence[Sequence[ObjectRef[Group]]], leans: Leans, norms: bool
    ) -> UpdateReport:
        """Fetch this rank's groups, make samples of them, update. Collective.

        ``norms``: measure the gradient of each objective too.
        """
        from learner.samples import samples_of

        batches = []
        for references in minibatches:
            groups = wait_for(
                list(references),
                seconds=self._config.deadlines.update,
                what=f"groups for learner rank {self._rank}",
            )
            samples = [samples_of(group, self._config.learner, leans) for group in groups]
            batches.append([sample for of_group in samples for sample in of_group])
        return self._learner.update(batches, norms=norms)

    def weigh(self, weights: Mapping[Objective, float]) -> None:
        """Use other weights of the objectives from the next update on."""
        self._learner.weigh(weights)

    def connect(self, generators: Sequence[NamedActor]) -> None:
        """Open the way to the generators: rank 0 to all, or each rank to the one on its GPU."""
        if self._config.transfer.backend == "ipc":
            self._connect_on_gpu(generators)
            return
        # Imported here: it brings vLLM, which only the sender needs.
        from actors.transfer.client import GeneratorClient
        from actors.transfer.sender import Sender

        transfer = self._config.transfer
        client = GeneratorClient(
            generators,
            workers=self._config.generators.tensor_parallel,
            seconds=transfer.deadline,
        )
        self._sender = Sender(
            self._learner.weights(),
            client,
            backend=transfer.backend,
            address=ray.util.get_node_ip_address(),
            bucket_mib=transfer.bucket_mib,
            seconds=transfer.deadline,
            share_memory=transfer.share_memory,
        )
        self._sender.connect()

    def _connect_on_gpu(self, generators: Sequence[NamedActor]) -> None:
        from actors.transfer.ipc_trainer import IpcClient, IpcSender

        self._sender = None
        if not generators:
            return
        transfer = self._config.transfer
        self._sender = IpcSender(
            self._learner.weights(),
            IpcClient(generators, workers=1, seconds=transfer.deadline),
            backend=transfer.backend,
            address="",
            bucket_mib=transfer.bucket_mib,
            seconds=transfer.deadline,
            share_memory=False,
        )
        self._sender.connect()

    def broadcast(self, version: int) -> TransferReport | None:
        """Send the weights (ranks with a way to a generator), or help to gather. Collective."""
        self._give_back_memory()
        if self._sender is not None:
            return self._sender.send(version)
        for _ in self._learner.weights():
            pass
        return None

    def _give_back_memory(self) -> None:
        """Where a generator shares the GPU, it is about to wake: keep nothing for later use."""
        if self._config.placement == "shared":
            import torch

            torch.cuda.empty_cache()

    def gap(self, reference: Sequence[ObjectRef[list[Generation]]]) -> Gap:
        """How far the log-probabilities of generations are from the learner's. Collective.

        Args:
            reference: of the generations, wrapped so that it comes as a reference.
        """
        from learner.samples import generated_samples

        generations: list[Generation] = []
        if self._rank == 0:
            seconds = self._config.deadlines.generate
            generations = wait_for(reference[0], seconds=seconds, what="completions to compare")
        samples = generated_samples(generations)
        ours = self._learner.logprobs(samples)
        self._give_back_memory()
        return gap_of([sample.logprobs for sample in samples], ours)

    def checksums(self) -> dict[str, str]:
        """SHA-256 of each weight as exported. Collective."""
        return self._learner.checksums()

    def export(self, folder: Path, card: str) -> None:
        """Write a Hugging Face folder with ``card`` as its README. Collective; rank 0 writes."""
        self._learner.export(folder, card)

    def save(
        self, root: Path, step: int, extras: Mapping[str, bytes], keep: int, card: str
    ) -> Path:
        """Write a checkpoint; its folder. Collective, and so are its errors."""
        return self._learner.save(root, step, extras, keep=keep, card=card)

    def load(self, folder: Path) -> None:
        """Take up the checkpoint in ``folder``, checked by rank 0. Collective."""
        self._learner.load(folder)

    def stop(self) -> None:
        """Leave the other ranks in good order. Collective."""
        self._sender = None
        learner: Any = getattr(self, "_learner", None)
        if learner is not None:
            learner.close()
