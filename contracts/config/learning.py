"""What the learner does, and how its weights reach the generators."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contracts.config.base import Count, Device, OptionalCount, Seconds, Section, Share


class LearnerConfig(Section):
    """The DeepSpeed ZeRO-3 learner."""

    ranks: Count = 1
    """Learner processes, one Ray actor each."""
    node_group: str = ""
    """Only on Ray nodes whose label `ray.io/node-group` is this; empty: anywhere."""
    device: Device = "auto"
    """`auto`: CUDA where there is one."""
    threads: Count = 2
    """CPU threads per rank (CPU only)."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """Peak learning rate of AdamW."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Shape of the learning rate after warm-up, counted in optimiser updates."""
    warmup_updates: OptionalCount = 5
    """Updates over which the learning rate climbs from 0."""
    final_ratio: Share = 0.3
    """Learning rate at the last update, as a share of the peak."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's betas."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decoupled weight decay."""
    gradient_clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest gradient norm; 0: no clipping."""
    updates_per_step: Count = 1
    """Optimiser updates per step; groups are split evenly over them."""
    advantage: str = "group_normalised"
    """`group_normalised`, `group_centred`, `leave_one_out`, or a `module:function`."""
    loss: str = "clipped"
    """`clipped`, `dual_clip`, `cispo`, `reinforce`, or a `module:function`."""
    clip_low: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Policy ratio is clipped from below at 1 - clip_low."""
    clip_high: Annotated[float, Field(ge=0)] = 0.2
    """Policy ratio is clipped from above at 1 + clip_high."""
    sampling_cap: Annotated[float, Field(ge=1)] | None = 2.0
    """Truncated importance sampling between sampler and learner: largest weight; null: off."""
    recompute_old: bool = False
    """Old log-probabilities from the learner itself, instead of the sampler's."""
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.0
    """Weight of KL to the frozen initial model. 0 keeps no reference in memory."""
    verdict_balance: Annotated[float, Field(ge=0)] = 1.0
    """Pull of the judge's verdicts on a question, or on a wording, towards as many yes, and as many
    A, as the labels say: keeps it from answering one and the same whatever it is shown. 0: none."""
    verdict_slack: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Difference between the two shares of yes up to which there is no pull. A share of a few
    verdicts is never quite that of the labels, and a pull against chance is noise."""
    verdict_centring: bool = False
    """Take out of the advantages of verdicts what yes or no alone explains, so that of these only
    the pull moves their share, and let it grow towards the ends: for models that do not judge yet.
    Without a pull it does nothing."""
    judge_discount: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Discount of a verdict's advantage, per token before the verdict. Below 1 it is trained
    more than the derivation before it, for which a reward that hardly depends on it is noise: for
    models that do not judge yet. 1: all tokens alike, so that reasoning is trained too."""
    silent_groups: Literal["skip", "train"] = "skip"
    """Groups whose rewards are all equal have no gradient but that of `kl_coefficient`. `train`
    holds the policy to the reference on them too."""
    weights: dict[Literal["solve", "pointwise", "pairwise", "reflect"], float] = Field(
        default={"solve": 1.0, "pointwise": 1.0, "pairwise": 0.5, "reflect": 0.25},
        validate_default=True,
    )
    """Weight of each objective; each has a normaliser of its own."""
    token_budget: Count = 4096
    """Tokens of a micro-batch, padding included. A CPU takes no more than 2048: it gets slower."""
    shared_prefix: Literal["auto", "on", "off"] = "auto"
    """Forward a group's prompt once for all its completions."""
    gradient_checkpointing: bool = False
    """Trade compute for activation memory."""
    offload_optimizer: bool = False
    """Keep optimiser state in host memory (CUDA only)."""
    offload_parameters: bool = False
    """Keep parameters in host memory (CUDA only)."""


class TransferConfig(Section):
    """The weight broadcast from learner to generators."""

    when: Literal["at_once", "between_batches"] = "at_once"
    """With `max_staleness` above 0: whether new weights are taken up in the middle of
    completions, which then carry the version of each token, or when a batch has ended."""

    backend: Literal["auto", "gloo", "nccl", "ipc"] = "auto"
    """`auto`: NCCL where generators and learner are on GPUs, CUDA IPC where they share them, else
    gloo."""
    bucket_mib: Count = 256
    """Size of a packed bucket, at most."""
    share_memory: bool = True
    """Generators that are all on the learner's machine read the weights out of its memory (gloo).
    Costs memory for one more copy of the weights."""
    deadline: Seconds = 120.0
    """Seconds each phase of a broadcast may take."""
    checksum_every: OptionalCount = 10
    """Compare checksums of engines and export every so many versions; 0: never."""
    probe_every: OptionalCount = 25
    """Compare log-probabilities of engines and learner on a few prompts every so many versions;
    0: never."""
    probe_tolerance: Annotated[float, Field(gt=0)] | None = None
    """Mean difference, in nats, that ends the run; null: 0.0001 in float32, 0.15 in bfloat16."""
