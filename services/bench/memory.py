"""``coevolve bench memory``: what log-probabilities of tokens take, ours and by full matrices."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.bench.processes import Turns, status_bytes, worker
from services.bench.records import Benchmark, Case, Ratio, case, ratio
from services.bench.surroundings import machine, versions

if TYPE_CHECKING:
    from torch import Tensor

VOCABULARY, HIDDEN = 49152, 576
"""SmolLM2-135M's output head."""

TOKENS = (256, 512, 1024, 2048, 4096, 8192)
PATHS = ("ours", "full")
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Head:
    """One measurement: the path, and how many tokens."""

    path: str
    tokens: int
    vocabulary: int
    hidden: int
    threads: int

    def __str__(self) -> str:
        return f"{self.path} ({self.tokens} tokens)"


def run(head: Head, turns: Turns) -> None:
    """Forward and backward once; the result is the peak above the level before, in MiB.

    Weights, hidden states and gradients of both are bfloat16, as in training. The level
    before holds weights and hidden states, and a first pass over 16 tokens, which sets up what
    the libraries keep.
    """
    import torch

    torch.set_num_threads(head.threads)
    torch.manual_seed(0)
    weight = torch.randn(head.vocabulary, head.hidden).mul_(0.02).bfloat16().requires_grad_()
    hidden = torch.randn(head.tokens, head.hidden).bfloat16().requires_grad_()
    tokens = torch.randint(head.vocabulary, (head.tokens,))
    turns.begin()
    backward(head.path, hidden[:16], weight, tokens[:16])
    weight.grad = hidden.grad = None
    reset_peak()
    before = status_bytes("VmRSS")
    backward(head.path, hidden, weight, tokens)
    turns.end((status_bytes("VmHWM") - before) / MIB)
    turns.begin()


def backward(path: str, hidden: Tensor, weight: Tensor, tokens: Tensor) -> None:
    """Log-probabilities of ``tokens`` [T] from ``hidden`` [T, H], and their gradients."""
    import torch

    if path == "ours":
        from learner.logprobs import LogitRule, token_logprobs

        logprobs, _ = token_logprobs(hidden, weight, None, tokens, LogitRule())
    else:
        full = torch.log_softmax((hidden @ weight.t()).float(), dim=-1)
        logprobs = full.gather(1, tokens[:, None]).squeeze(1)
    torch.autograd.backward(logprobs.sum())


def reset_peak() -> None:
    """Let Linux forget this process's peak; where it will not, the peak so far stays in it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def bench_memory(
    say: Callable[[str], None],
    *,
    tokens: Sequence[int] = TOKENS,
    threads: int = 2,
    vocabulary: int = VOCABULARY,
) -> Benchmark:
    """Measure both paths at every number of tokens, each in a process of its own.

    Raises:
        BenchError, DeadlineError: a process failed.
    """
    cases: list[Case] = []
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory(prefix="coevolve-bench-") as scratch:
        for count in tokens:
            peaks: dict[str, float] = {}
            for path in PATHS:
                head = Head(path, count, vocabulary, HIDDEN, threads)
                say(str(head))
                peaks[path] = _peak(head, Path(scratch))
            mix = f"{count} tokens"
            cases += [case(NAME, mix, path, "MiB peak", [peaks[path]]) for path in PATHS]
            full, ours = (("full", [peaks["full"]]), ("ours", [peaks["ours"]]))
            ratios.append(ratio(NAME, mix, full, ours))
    return Benchmark(
        benchmark="memory",
        machine=machine(),
        versions=versions(("torch", "numpy")),
        cases=tuple(cases),
        ratios=tuple(ratios),
    )


NAME = "smollm2 head"


def _peak(head: Head, scratch: Path) -> float:
    """MiB of one measurement."""
    log = scratch / f"{head.path}-{head.tokens}.log"
    with worker(str(head), f"{__name__}:run", head, threads=head.threads, log=log) as one:
        one.wait_ready()
        peak = one.turn().value
        one.end()
    return peak
