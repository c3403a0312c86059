"""The configuration of a run: every field, its meaning and its default.

Validated whole before any actor starts. ``contracts.loading`` reads it from YAML.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
OptionalCount = Annotated[int, Field(ge=0)]
Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["float32", "bfloat16"]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values cannot change afterwards."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class WarmStartConfig(Section):
    """How the built-in tiny model is given its first, weak competence. Only read for `tiny`."""

    clean_steps: OptionalCount = 500
    """Supervised updates on faultless derivations."""
    sloppy_steps: OptionalCount = 100
    """Supervised updates on derivations with injected faults: this is the room RL has."""
    batch: Count = 64
    """Sequences per supervised update."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Peak learning rate of the supervised updates; it falls to a tenth at their end."""
    verdict_weight: Annotated[float, Field(gt=0)] = 4.0
    """Weight of the loss on the token that is the verdict."""
    result_weight: Annotated[float, Field(gt=0)] = 2.5
    """Weight of the loss on the digits that are the result of a column: the slowest to learn."""
    forgotten_carry: Share = 0.6
    """Sloppy part: probability that a carry or borrow is forgotten, each time there is one."""
    wrong_column: Share = 0.15
    """Sloppy part: probability that the result of a column is off by 1 to 3."""
    wrong_mark: Share = 0.06
    """Sloppy part: probability that a mark of the digit-by-digit check is turned over."""
    coin_verdict: Share = 0.3
    """Sloppy part: probability that the verdict is drawn by coin."""
    unchecked_reflection: Share = 0.1
    """Sloppy part: probability that a reflection keeps the proposed answer unchecked."""
    seed: int = 0
    """Seed of the data and of the initial weights."""


class ModelConfig(Section):
    """The one model that solves and judges."""

    name: str = "tiny"
    """`tiny` (built and warm-started on the spot), `smollm2`, or a Hugging Face model folder."""
    dtype: Dtype = "float32"
    """Type of compute and of the generators' weights. bfloat16 keeps float32 master weights."""
    max_context: Count = 256
    """Longest prompt plus completion, in tokens."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model folder. Leave off unless you wrote it."""
    warm_start: WarmStartConfig = WarmStartConfig()
    """First competence of the tiny model."""


class FieldMapping(Section):
    """Where a data file keeps question, answer and image."""

    question: str = "question"
    """Field of the question; several joined by `+` are put together with a space."""
    answer: str = "answer"
    """Field of the gold answer."""
    answer_after: str = ""
    """Take the gold answer from behind the last occurrence of this mark, for example `####`."""
    answer_boxed: bool = False
    r"""Take the gold answer out of the last `\boxed{}` of the answer field."""
    image: str = ""
    """Field of an image path, or of a list of them; empty: no images."""
    id: str = ""
    """Field of a unique id; empty: the row number."""


class TaskConfig(Section):
    """Where tasks come from, and how they are asked."""

    source: Literal[
        "arithmetic", "jsonl", "json", "parquet", "hf", "gsm8k", "svamp", "math500", "aime", "amc",
        "spark",
    ] = "arithmetic"  # fmt: skip
    """The built-in generator, a file format, a saved Hugging Face dataset, or a published file."""
    path: Path | None = None
    """File or folder of the source. Not used by `arithmetic`."""
    fields: FieldMapping = FieldMapping()
    """Field mapping for `jsonl`, `json`, `parquet` and `hf`. The presets bring their own."""
    verifier: str = "math"
    """Grader of answers: `math`, `choice`, `exact`, or a `module:function` of yours."""
    held_out: Count = 512
    """Tasks kept for evaluation, never trained on. Chosen by `seed`."""
    operators: Annotated[str, Field(pattern=r"^[+*-]+$")] = "+-"
    """Arithmetic only: operators to draw from."""
    low: OptionalCount = 10
    """Arithmetic only: smallest operand."""
    high: Count = 99
    """Arithmetic only: largest operand."""
    seed: int = 0
    """Seed of the order of tasks and of the split."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source != "arithmetic" and self.path is None:
            raise ValueError(f"tasks.path is needed for source {self.source!r}")
        if self.low >= self.high:
            raise ValueError(f"tasks.low ({self.low}) must be below tasks.high ({self.high})")
        return self


class SamplingConfig(Section):
    """How completions are sampled."""

    completions: Annotated[int, Field(ge=2)] = 8
    """Completions per prompt: the group. One alone has no advantage."""
    max_tokens: Count = 48
    """Longest completion of any objective."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Temperature; log-probabilities are those of the tempered distribution."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Must be 1: truncated sampling biases the policy ratio."""
    refill: Annotated[float, Field(ge=1)] = 1.0
    """New tasks take the place of solve groups without signal (all rewards equal), until a step
    has asked this many times `tasks_per_step` tasks. 1: none do."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.top_p != 1.0:
            raise ValueError(
                "sampling.top_p must be 1: under truncated sampling the sampler's "
                "log-probabilities are not those of the policy that is trained"
            )
        return self


class RecycleConfig(Section):
    """What is made of verified groups. Caps are prompts per step."""

    enabled: bool = True
    """Off: train on solving alone."""
    style: Literal["natural", "terse", "worked"] = "terse"
    """Wording of all prompts, solve prompts too. `terse` is the tiny model's language."""
    pointwise: OptionalCount = 32
    """At most this many pointwise prompts, equal numbers of right and wrong candidates."""
    pairwise: OptionalCount = 16
    """At most this many pairwise prompts, positions balanced."""
    reflect: OptionalCount = 8
    """At most this many reflection prompts."""
    reflect_wrong_share: Share = 0.5
    """Share of reflection prompts that show a wrong candidate; the rest show a right one."""
    reasoning_share: Share = 0.0
    """Share of prompts that show the whole completion; the rest show the final answer only."""
    longest_answer: Count = 64
    """Longest answer that is shown, in bytes, and so in tokens; longer ones are not recycled."""
    answered: bool = True
    """Off: recycled prompts are not answered, but written to `recycled.jsonl` of the run folder,
    for a judge that is trained apart from the policy."""
    prompts_of: Path | None = None
    """Folder of a run with `recycle.answered` off: its prompts are answered, step by step, and no
    tasks are solved. The judge that is trained apart."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.prompts_of is not None and not (self.enabled and self.answered):
            raise ValueError(
                "recycle.prompts_of needs recycle.enabled and recycle.answered: those prompts are "
                "all that the run trains on"
            )
        return self


class GeneratorConfig(Section):
    """vLLM engines."""

    count: Count = 1
    """Number of engines, one Ray actor each."""
    tensor_parallel: Count = 1
    """GPUs per engine."""
    device: Device = "auto"
    """`auto`: CUDA where there is one."""
    threads: Count = 1
    """CPU threads per engine (CPU only)."""
    kv_cache_gib: Annotated[float, Field(gt=0)] = 1.0
    """Key-value cache per engine (CPU only)."""
    gpu_memory_utilization: Share = 0.85
    """Share of a GPU's memory an engine may take (CUDA only)."""
    node_group: str = ""
    """Only on Ray nodes whose label `ray.io/node-group` is this; empty: anywhere."""
    max_sequences: Count = 256
    """Sequences an engine samples at once."""
    enforce_eager: bool = True
    """Skip compilation and graph capture: faster start, slower tokens."""


class ReflectionRewardConfig(Section):
    """What a reflection earns by what it did with the answer that it was shown."""

    fix: float = 1.0
    """A wrong one was made right."""
    keep: float = 1.0
    """A right one was kept."""
    breaking: float = 0.0
    """A right one was made wrong."""
    miss: float = 0.0
    """A wrong one stayed wrong."""
    unanswered: float = 0.0
    """There was no answer."""


class VerifierConfig(Section):
    """The verifier pool."""

    workers: Count = 1
    """Grader processes."""
    deadline: Seconds = 5.0
    """Seconds of processor time a grader may take for one completion before it is killed."""
    reflection: ReflectionRewardConfig = ReflectionRewardConfig()
    """Rewards of reflections; plain correctness by default."""


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
    """Pull of the judge's verdicts towards as many yes, and as many A, as the labels say: keeps
    it from answering one and the same whatever it is shown. 0: none."""
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


class EvaluationConfig(Section):
    """Held-out evaluation of solving, judging and reflecting."""

    every: OptionalCount = 25
    """Steps between evaluations; 0: only at start and end."""
    tasks: Count = 512
    """Held-out tasks at start and end."""
    tasks_between: Count = 128
    """Held-out tasks in between."""
    candidates: Annotated[int, Field(ge=2)] = 4
    """Answers per held-out task sampled at start; the fixed set that judging is measured on."""
    greedy: bool = True
    """Also evaluate greedily at start and end."""
    verdicts: Count = 4
    """Verdicts on each candidate at start and end, for calibration; 1: it is not measured. The
    candidates are those of the first `tasks_between` tasks."""


class BudgetConfig(Section):
    """What a run may use up: it ends with the step that reaches the first of these, at the latest
    after `steps`. The learning rate's schedule counts `steps` all the same. Evaluations are free.
    """

    sampled_tokens: Count | None = None
    """Completion tokens, of all objectives."""
    trained_tokens: Count | None = None
    """Completion tokens that were trained on."""
    seconds: Seconds | None = None
    """Wall-clock of the steps."""


class FaultConfig(Section):
    """What is put up with before a run ends."""

    restarts: OptionalCount = 5
    """Restarts of each kind of actor (generator, verifier, recycler) within `window`."""
    window: Seconds = 600.0
    """Seconds after which a restart is forgotten."""
    resumes: OptionalCount = 3
    """How often the whole run goes on from its last checkpoint by itself, after the learner
    died or a budget was spent."""


class CheckpointConfig(Section):
    """Checkpoints, which `--resume` goes on from."""

    every: OptionalCount = 25
    """Steps between checkpoints, with one at the last step; 0: none."""
    keep: Count = 2
    """Checkpoints left in the run folder; older ones are removed."""


class DeadlineConfig(Section):
    """Longest waits, in seconds. A timeout names what it waited for."""

    start: Seconds = 300.0
    """Start of an actor with its model."""
    generate: Seconds = 600.0
    """A batch of generation."""
    grade: Seconds = 120.0
    """A batch of grading."""
    update: Seconds = 1800.0
    """An update of the learner."""
    stop: Seconds = 15.0
    """Orderly end of an actor, before it is killed."""
    health: Seconds = 30.0
    """Sign of life of an actor that is asked for one; a frozen one is killed after it."""
    grace: Seconds = 25.0
    """Time to save a checkpoint after SIGTERM or Ctrl-C; a second signal ends the run at once."""


Sink = Literal["tensorboard", "wandb"]


class MetricsConfig(Section):
    """Where the figures of a run can be seen while it runs."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address that the driver serves Prometheus metrics on. 0.0.0.0: all, for a cluster whose
    network policies say who may come."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of the driver for Prometheus metrics; 0: none."""
    sinks: tuple[Sink, ...] = ()
    """Where the same figures go besides: `tensorboard` (files in the run folder), `wandb`."""
    gradient_norms_every: OptionalCount = 25
    """Measure the gradient of each objective apart, in the first step and every so many after it;
    0: never. Costs one more forward and backward of that step, and changes nothing of it."""
    wandb_project: str = "coevolve"
    """Weights & Biases only: the project. Name and key of the account are wandb's own business."""
    wandb_mode: Literal["offline", "online"] = "offline"
    """Weights & Biases only. `offline` writes into the run folder; `wandb sync` sends it later."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.sinks)) < len(self.sinks):
            raise ValueError("metrics.sinks names one twice")
        return self


GuardAction = Literal["off", "warn", "lower_judge_weights", "stop"]


class GuardConfig(Section):
    """What is done when training goes wrong in one of four known ways (docs/runbook.md).

    `warn` says so; `lower_judge_weights` makes judging and reflecting count less; `stop` saves a
    checkpoint and ends the run. Each acts again after a whole `window` only.
    """

    window: Annotated[int, Field(ge=2)] = 20
    """Steps that are looked at together."""
    reward_collapse: GuardAction = "warn"
    """The reward of solving has fallen to less than half of what it was at its best."""
    misalignment: GuardAction = "warn"
    """The judge says one and the same whatever it is shown: policy and reward part ways."""
    instability: GuardAction = "warn"
    """Gradients grow far beyond what they were, or the learner is far from the sampler."""
    reflection_stuck: GuardAction = "warn"
    """Reflection mends next to none of the wrong answers that it is shown."""
    judge_weight_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What `lower_judge_weights` multiplies the weights of judging and reflecting by."""


class RunConfig(Section):
    """A run of Coevolve."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run and of its folder."""
    runs_dir: Path = Path("runs")
    """Where run folders are."""
    cache_dir: Path = Path(".cache/models")
    """Where built models are kept."""
    seed: int = 0
    """Seed of everything random in the run."""
    steps: Count = 100
    """Steps: one batch of groups in, one new weight version out."""
    budget: BudgetConfig = BudgetConfig()
    """What ends the run before."""
    tasks_per_step: Count = 32
    """Tasks solved per step."""
    schedule: Literal["merged", "sequential"] = "merged"
    """`merged`: recycled prompts join the next step's solve prompts. `sequential`: the paper's."""
    max_staleness: OptionalCount = 0
    """Weight versions that a trained token may be behind. 0: generation and training take turns.
    k: up to k batches are generated ahead of the learner."""
    placement: Literal["separate", "shared"] = "separate"
    """`separate`: every engine and every learner rank has GPUs of its own. `shared`: generator i
    and learner rank i take turns on one GPU. On a CPU there is only `separate`."""
    model: ModelConfig = ModelConfig()
    """The model."""
    tasks: TaskConfig = TaskConfig()
    """The tasks."""
    sampling: SamplingConfig = SamplingConfig()
    """Sampling."""
    recycle: RecycleConfig = RecycleConfig()
    """Recycling."""
    generators: GeneratorConfig = GeneratorConfig()
    """Generators."""
    verifiers: VerifierConfig = VerifierConfig()
    """Verifiers."""
    learner: LearnerConfig = LearnerConfig()
    """Learner."""
    transfer: TransferConfig = TransferConfig()
    """Weight broadcast."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Evaluation."""
    checkpoints: CheckpointConfig = CheckpointConfig()
    """Checkpoints."""
    faults: FaultConfig = FaultConfig()
    """Restarts after faults."""
    deadlines: DeadlineConfig = DeadlineConfig()
    """Deadlines."""
    metrics: MetricsConfig = MetricsConfig()
    """Metrics."""
    guards: GuardConfig = GuardConfig()
    """Guards."""
    rollouts_kept: OptionalCount = 4
    """Rollouts per objective and step written to the run folder for reading."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.sampling.max_tokens >= self.model.max_context:
            raise ValueError(
                f"sampling.max_tokens ({self.sampling.max_tokens}) leaves no room for a prompt in "
                f"model.max_context ({self.model.max_context})"
            )
        if self.learner.updates_per_step > self.tasks_per_step:
            raise ValueError(
                f"learner.updates_per_step ({self.learner.updates_per_step}) is above "
                f"tasks_per_step ({self.tasks_per_step}): an update would have no group"
            )
        if self.evaluation.tasks > self.tasks.held_out:
            raise ValueError(
                f"evaluation.tasks ({self.evaluation.tasks}) is above "
                f"tasks.held_out ({self.tasks.held_out})"
            )
        if self.model.name == "tiny" and self.recycle.style != "terse":
            raise ValueError("recycle.style must be 'terse' for model 'tiny': it knows no other")
        self._check_placement()
        return self

    def _check_placement(self) -> None:
        """What can share GPUs, and what cannot."""
        generators, learner, backend = self.generators, self.learner, self.transfer.backend
        if self.placement == "separate":
            if backend == "ipc":
                raise ValueError("transfer.backend 'ipc' is for placement 'shared' alone")
            return
        if "cpu" in (generators.device, learner.device):
            raise ValueError(
                "placement 'shared' is for generators and learner on GPUs: set generators.device "
                "and learner.device to cuda or auto, or placement to separate"
            )
        if generators.count > learner.ranks:
            raise ValueError(
                f"generators.count ({generators.count}) is above learner.ranks ({learner.ranks}): "
                f"with placement 'shared' each generator shares the GPU of a rank"
            )
        if generators.tensor_parallel > 1:
            raise ValueError(
                f"generators.tensor_parallel ({generators.tensor_parallel}) must be 1 with "
                f"placement 'shared': each generator has the GPU of one rank"
            )
        if self.max_staleness > 0:
            raise ValueError(
                f"max_staleness ({self.max_staleness}) must be 0 with placement 'shared': "
                f"generators and learner take turns"
            )
        if backend not in ("auto", "ipc"):
            raise ValueError(
                f"transfer.backend ({backend}) must be auto or ipc with placement 'shared'"
            )
        if generators.node_group != learner.node_group:
            raise ValueError(
                "generators.node_group and learner.node_group must be the same with placement "
                "'shared'"
            )

    @property
    def batches_per_step(self) -> int:
        """Batches trained per step, each making a weight version: the paper's order has two."""
        recycle = self.recycle
        both = recycle.enabled and recycle.answered and recycle.prompts_of is None
        return 2 if self.schedule == "sequential" and both else 1

    @property
    def total_updates(self) -> int:
        """Optimiser updates of the whole run: what the learning-rate schedule counts."""
        return self.steps * self.learner.updates_per_step * self.batches_per_step

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.runs_dir / self.name

    @property
    def checkpoints_folder(self) -> Path:
        """Where the checkpoints of the run are."""
        return self.folder / "checkpoints"
