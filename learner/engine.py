"""The learner: one rank of a ZeRO-3 group that turns samples into new weights."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contracts.config import Dtype, LearnerConfig
from contracts.errors import IntegrityError, UserError
from contracts.types import FloatArray, Objective, Sample, UpdateReport
from learner import zero
from learner.checkpoint import Checkpoint, Writer, described, verified
from learner.digests import digests_of
from learner.export import export_folder
from learner.losses import loss_named, token_loss
from learner.minibatch import Minibatch, Packing, objective_weights, plan, token_batch
from learner.policy import Policy, inputs, load_model, shares_prefixes, window_of
from learner.probe import check_head, check_shared_prefix
from learner.reference import Reference
from learner.report import OBJECTIVES, Tally
from learner.saving import Saver, together
from learner.schedule import Schedule
from learner.shared_prefix import Layout, dummy_layout
from learner.weights import LearnerWeights
from learner.zero_state import ZeroState


class Learner:
    """A rank of the learner. All ranks call the same methods in the same order.

    Blind to the algorithm: it sees samples, whose objectives are labels with a weight and a
    normaliser of their own.

    Args:
        model_folder: Hugging Face folder of the initial model, which is also the reference.
        config: optimiser, loss, packing, memory.
        dtype: type of compute and of exported weights; float32 master weights either way.
        total_updates: optimiser updates of the whole run: the schedule's length.
        seed: of whatever is random here (nothing in a model without dropout).
        rank, world_size: this rank, and how many there are.
        master, port: where rank 0 listens; not used by one rank alone.
        trust_remote_code: run code that comes with the model.
        temperature: of the sampler; log-probabilities are those of the tempered model.

    Raises:
        UserError: no model in the folder, no such device, or an architecture that does not
            fit (its head, or the shared prefix where that is ``on``).
    """

    def __init__(
        self,
        model_folder: Path,
        config: LearnerConfig,
        *,
        dtype: Dtype,
        total_updates: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        master: str = "127.0.0.1",
        port: int = 0,
        trust_remote_code: bool = False,
        temperature: float = 1.0,
    ) -> None:
        self.config = config
        self.schedule = Schedule.of(config, total_updates)
        self.updates_done = 0
        self._folder = Path(model_folder)
        self._dtype = zero.TORCH_DTYPE[dtype]
        self._policy_loss = loss_named(config.loss)
        self._place = zero.Place.of(config, rank, world_size, master, port)
        if self._place.device.type == "cpu":
            torch.set_num_threads(config.threads)
        torch.manual_seed(seed)
        self._deepspeed = zero.join(self._place)
        try:
            self._start(dtype, temperature, trust_remote_code)
        except BaseException:
            zero.leave()
            raise

    def _start(self, dtype: Dtype, temperature: float, trust: bool) -> None:
        """Load, partition, check. Collective."""
        policy = self._load(dtype, temperature, trust)
        self._model = policy.model
        if self.config.gradient_checkpointing:
            self._model.gradient_checkpointing_enable({"use_reentrant": False})
        elements = sum(getattr(p, "ds_numel", p.numel()) for p in policy.parameters())
        settings = zero.zero_config(self.config, dtype, elements, self._place.device)
        with zero.quiet():
            self._engine, self._optimizer, *_ = self._deepspeed.initialize(
                model=policy,
                model_parameters=zero.decay_groups(policy, self.config.weight_decay),
                config=settings | {"optimizer": zero.optimizer_config(self.config)},
            )
        self._deepspeed.zero.register_external_parameter(policy.head, policy.head.weight)
        self._reference: Reference | None = None
        if self.config.kl_coefficient > 0:
            frozen = self._load(dtype, temperature, trust)
            with zero.quiet():
                self._reference = Reference(self._deepspeed, frozen, settings)
        self._engine.train()
        self._weights = LearnerWeights(self._deepspeed, self._model, self._dtype)
        self._state = ZeroState(self._optimizer, self._weights.named, self._place)
        self._saver = Saver(
            self._place,
            state=self._state.save,
            export=self._export,
            # Of each weight a float32 copy, two moments, and the export.
            size=elements * (3 * 4 + self._dtype.itemsize),
        )
        self._probe(temperature)

    def _load(self, dtype: Dtype, temperature: float, trust: bool) -> Policy:
        settings = zero.zero_config(self.config, dtype, 0, self._place.device)
        with zero.partitioned_loading(settings):
            model = load_model(self._folder, self._dtype, trust_remote_code=trust)
        if self.config.shared_prefix != "off":
            shares_prefixes(model)
        return Policy(model, temperature)

    def _probe(self, temperature: float) -> None:
        """A first forward, which ZeRO-3 needs before weights are read, used to check the model."""
        device, mode = self._place.device, self.config.shared_prefix
        check_head(self._model, self._forward, device, temperature)
        if mode != "off":
            try:
                check_shared_prefix(self._model, self._forward, device, temperature)
            except UserError as error:
                if mode == "on":
                    raise
                logging.getLogger(__name__).warning("prefixes are not shared: %s", error)
                mode = "off"
        self._packing = Packing(mode, self.config.token_budget, device, window_of(self._model))

    @property
    def shares_prefixes(self) -> bool:
        """Whether groups may be forwarded with a shared prefix on this model."""
        return self._packing.shared_prefix != "off"

    @torch.no_grad()
    def _forward(self, layout: Layout) -> Tensor:
        """Log-probabilities [T] without a gradient. Collective."""
        logprobs, _ = self._engine.module(*inputs(layout))
        result: Tensor = logprobs
        return result

    def update(
        self, minibatches: Sequence[Sequence[Sample]], *, norms: bool = False
    ) -> UpdateReport:
        """One optimiser update per minibatch. Collective.

        Args:
            minibatches: this rank's share of each optimiser batch; equally many on every
                rank, any of them empty. Old log-probabilities are those from before the
                first update for all of them.
            norms: measure ``gradient_norms`` of the first minibatch too, before its update.

        Returns:
            The same report on every rank. A minibatch in which nothing has signal on any
            rank makes no update and is not counted, in the report or by the schedule.

        Raises:
            IntegrityError: gradients are not finite, or ranks brought unequal numbers.
        """
        started = time.perf_counter()
        device = self._place.device
        plans = [plan(samples, self.config, self._packing) for samples in minibatches]
        self._check_equal(len(plans))
        totals, micros = self._agree(plans)
        by_objective = self.gradient_norms(minibatches[0]) if norms and plans else {}
        old = [
            self._old(p, n, first=i == 0)
            for i, (p, n) in enumerate(zip(plans, micros, strict=True))
        ]
        tally = Tally(device)
        whole: list[float] = []
        rate = self.schedule.at(self.updates_done)
        for i, minibatch in enumerate(plans):
            if not totals[i].any():
                continue
            self._accumulate(minibatch, totals[i], micros[i], old[i], tally, first=not whole)
            tally.count_samples(minibatch.objective_counts)
            rate = self.schedule.at(self.updates_done)
            whole.append(self._step(rate))
        objectives, tokens = tally.finish(len(whole))
        return UpdateReport(
            updates=len(whole),
            learning_rate=rate,
            gradient_norm=float(np.mean(whole)) if whole else 0.0,
            tokens=tokens,
            seconds=time.perf_counter() - started,
            objectives=objectives,
            gradient_norms=by_objective,
        )

    def gradient_norms(self, samples: Sequence[Sample]) -> dict[Objective, float]:
        """Norm of each objective's part of the gradient of one optimiser batch. Collective.

        Its weight in the loss is in it: the parts add up to the whole gradient, as vectors.
        Costs one more forward and backward of all samples; what they leave is thrown away.

        Args:
            samples: this rank's share.
        """
        found = {}
        for objective in OBJECTIVES:
            ours = [sample for sample in samples if sample.objective is objective]
            part = plan(ours, self.config, self._packing)
            (total,), (micros,) = self._agree([part])
            if not total.any():
                continue
            old = self._old(part, micros, first=True)
            self._accumulate(part, total, micros, old, None, first=True)
            parameters = [parameter for _, parameter in self._weights.named]
            found[objective] = zero.gradient_norm(parameters, self._place.device)
            self._optimizer.zero_grad()
        return found

    def weigh(self, weights: Mapping[Objective, float]) -> None:
        """Use other ``weights`` of the objectives from the next update on. On every rank alike."""
        given = {objective.value: weight for objective, weight in weights.items()}
        self.config = self.config.model_copy(update={"weights": given})

    def _check_equal(self, count: int) -> None:
        highest, lowest = zero.max_over_ranks([count, -count], self._place.device)
        if highest != -lowest:
            raise IntegrityError(
                f"learner ranks brought between {-lowest} and {highest} minibatches to one update"
            )

    def _agree(self, plans: Sequence[Minibatch]) -> tuple[list[Tensor], list[int]]:
        """Global token counts of each minibatch, and micro-batches every rank will run."""
        if not plans:
            return [], []
        counts = torch.stack([p.counts for p in plans]).to(self._place.device)
        totals = zero.sum_over_ranks(counts).cpu()
        micros = zero.max_over_ranks([len(p.layouts) for p in plans], self._place.device)
        return list(totals), micros

    def _old(
        self, minibatch: Minibatch, micros: int, *, first: bool
    ) -> dict[int, FloatArray] | None:
        """Old log-probabilities by sample; None: those of the forward pass itself."""
        if not self.config.recompute_old:
            return {i: sample.logprobs for i, sample in enumerate(minibatch.samples)}
        if first:
            return None
        return self._score(minibatch.samples, minibatch.layouts, micros)

    def _accumulate(
        self,
        minibatch: Minibatch,
        totals: Tensor,
        micros: int,
        old: dict[int, FloatArray] | None,
        tally: Tally | None,
        *,
        first: bool,
    ) -> None:
        """Forward and backward of every micro-batch, dummies where this rank has fewer."""
        device = self._place.device
        scale = objective_weights(self.config)[:, None] / totals.clamp(min=1)
        normalisers = totals.to(device)
        for index in range(micros):
            real = index < len(minibatch.layouts)
            layout = minibatch.layouts[index] if real else dummy_layout(device)
            batch = token_batch(minibatch, layout, scale, old, with_kl=self._reference is not None)
            self._engine.set_gradient_accumulation_boundary(index == micros - 1)
            logprobs, entropy = self._engine(*inputs(layout))
            frozen = None
            if self._reference is not None:
                frozen = self._reference.logprobs(layout)
            loss = token_loss(logprobs, frozen, batch, self.config, self._policy_loss)
            # DeepSpeed averages gradients over the ranks; the loss is a sum over them.
            scaled = loss.total * self._place.world_size
            self._engine.backward(scaled, scale_wrt_gas=False)
            if real and tally is not None:
                unmoved = batch.old if self.config.recompute_old else None
                if first:
                    unmoved = logprobs
                tally.add(batch, loss, entropy, normalisers, unmoved=unmoved)

    def _step(self, rate: float) -> float:
        """One optimiser update at learning rate ``rate``; the gradient norm before clipping."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._engine.step()
        if not self._engine.was_step_applied():
            raise IntegrityError(
                f"the gradient of optimiser update {self.updates_done} is not finite"
            )
        self.updates_done += 1
        return float(self._engine.get_global_grad_norm())

    def logprobs(self, samples: Sequence[Sample]) -> list[FloatArray]:
        """The learner's log-probabilities of the completion tokens, float32 [R] each. Collective.

        Args:
            samples: this rank's; may be empty.
        """
        layouts = self._packing.layouts(samples)
        (micros,) = zero.max_over_ranks([len(layouts)], self._place.device)
        scored = self._score(samples, layouts, micros)
        return [scored[i] for i in range(len(samples))]

    def _score(
        self, samples: Sequence[Sample], layouts: Sequence[Layout], micros: int
    ) -> dict[int, FloatArray]:
        """Log-probabilities by sample, forwarding ``micros`` micro-batches. Collective."""
        result: dict[int, FloatArray] = {}
        for index in range(micros):
            if index >= len(layouts):
                self._forward(dummy_layout(self._place.device))
                continue
            layout = layouts[index]
            flat = self._forward(layout).float().cpu().numpy()
            stops = np.cumsum([len(samples[i].tokens) for i in layout.order])
            result.update(zip(layout.order, np.split(flat, stops[:-1]), strict=True))
        return result

    def weights(self) -> LearnerWeights:
        """The current weights; iterating is collective."""
        return self._weights

    def checksums(self) -> dict[str, str]:
        """SHA-256 per weight, as exported. Collective; the same on every rank."""
        return digests_of(self._weights)

    def export(self, folder: Path, card: str = "") -> None:
        """Write a Hugging Face folder, with ``card`` as its README. Collective; rank 0 writes.

        Raises:
            CheckpointError: it could not be written (disk full, say); on every rank.
        """
        together(
            self._place,
            lambda: self._export(Path(folder), card),
            f"the model could not be written to {folder}",
        )

    def _export(self, folder: Path, card: str) -> None:
        export_folder(
            self._weights,
            self._model,
            self._folder,
            folder,
            writer=self._place.rank == 0,
            card=card,
        )

    def save(
        self,
        root: Path,
        step: int,
        extras: Mapping[str, bytes],
        *,
        keep: int = 2,
        card: str = "",
        at: Callable[[str], None] = lambda _: None,
    ) -> Path:
        """Write a checkpoint, whole or not at all. Collective.

        Args:
            root: folder of the run's checkpoints, seen by all ranks.
            step: names it.
            extras: files of the caller's own state, by plain name, the same on every rank.
            keep: how many checkpoints to leave.
            card: README of the Hugging Face export beside it.
            at: called with the name of each stage as it is reached.

        Returns:
            The folder of the checkpoint.

        Raises:
            CheckpointError: a rank could not write (disk full, say); on every rank, and the
                checkpoint before is intact.
            UserError: another run writes to ``root``: a learner claims it at its first save
                into it, until it is closed; on every rank.
        """
        facts = {"updates_done": self.updates_done}
        return self._saver.save(Writer(Path(root), step, at), facts, extras, keep=keep, card=card)

    def load(self, folder: Path) -> None:
        """Take up weights, optimiser, schedule and random state of a checkpoint. Collective.

        It may have been written by another number of ranks. Generators must be sent the
        weights after it.

        Args:
            folder: of the checkpoint, as ``checkpoint.newest`` finds it. Rank 0 checks every
                file of it against the manifest.

        Raises:
            CheckpointError: it is damaged, or a rank cannot read it; on every rank. Where
                that is found late the learner holds neither state: load another, or end.
        """
        look = verified if self._place.rank == 0 else described
        found: list[Checkpoint] = []
        what = f"checkpoint {folder} could not be read"
        together(self._place, lambda: found.append(look(folder)), what)
        facts = dict(found[0].facts)
        together(self._place, lambda: self._state.read(found[0].learner, facts), what)
        self._state.spread()
        self.updates_done = int(facts["updates_done"])

    def close(self) -> None:
        """Free the engine and leave the process group. The learner cannot be used after it."""
        self._saver.close()
        if self._reference is not None:
            self._reference.close()
        engine: Any = self._engine
        with zero.quiet():
            engine.destroy()
        zero.leave()
