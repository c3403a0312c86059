"""Hostile responses by the thousand: does every one get a grade, in time, and nothing leak?

In full::

    python tests/actors/fuzz_graders.py --count 100000

A short form of it is a test (``test_graders_fuzz.py``). Strings depend on the seed alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from actors.graders.processes import GraderProcesses
from contracts.grammar import last_boxed
from contracts.types import Grade, Reason
from tests.actors.test_graders_properties import PIECES

GOLDS = (
    "12", "-3", "1,234", "0.5", r"\frac{1}{3}", "25%", "$3", "5 cm", "60 km/h", "(1,2]", "[0,1)",
    r"(-\infty, 3)", "1, 2", r"\{1, 2, 3\}", r"\pm 2", "(1, 2)", "x = 4", "y = 2x + 1",
    "x^2 + y^2 = 4", r"\sqrt{2}", r"2\pi", "x+1", r"\frac{x+1}{x^2-1}", r"\sin^2 x", "A", "(C)",
    "ABC", "Tuesday", "101_2", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "3 + 4i",
    r"1 < x \le 2", r"\emptyset", r"x^{10} + 1", r"\log_2 8",
)  # fmt: skip

VALID = (
    r"\frac{x^2-1}{x+1}", r"\sqrt{3} + \sqrt{12}", "x^2+2x+1", r"\left(-\infty, 3\right]",
    "1.5e-3", r"\{1, \frac{1}{2}, \sqrt{2}\}", r"\frac{\sin x}{\cos x}",
    r"x \in [0, 1] \cup (2, 3)",
    r"12\text{ cm}^2", "y = 3x - 4", r"\binom{10}{3}", r"\log_{2}(x+1)", r"e^{i\pi}+1", "(A)",
    r"\begin{pmatrix} 1 & x \\ 0 & 2 \end{pmatrix}", r"\int_0^1 x^2 dx", r"\sum_{k=1}^{n} k",
)  # fmt: skip


def pieces(draw: random.Random) -> str:
    """Bits of LaTeX, units, words and noise in a row."""
    return "".join(draw.choices(PIECES, k=draw.randint(1, 30)))


def tower(draw: random.Random) -> str:
    """Powers of powers of powers."""
    base = draw.choice(["9", "2", "x", "-3", "1.5", "(x+1)", r"\pi", "10", "i", "0"])
    text = draw.choice(["9", "99", "x", "-9", "1/2", "2.5", "y", "0"])
    for _ in range(draw.choice([2, 3, 4, 6, 20, 60])):
        text = f"{base}^{{{text}}}"
    return text


def huge_number(draw: random.Random) -> str:
    """Numbers that cannot be written out, and ones that are."""
    size = draw.choice([30, 400, 5_000, 50_000])
    digits = draw.choice("123456789") * size
    return draw.choice(
        [
            digits, f"-{digits}.{digits}", f"1e{digits}", f"1e-{10**9}", f"10^{{{10**9}}}",
            rf"\frac{{{digits}}}{{{digits}7}}", f"{digits}/{digits}1", f"{digits}%", f"0.{digits}",
            f"1.5 \\times 10^{{{digits[:12]}}}", f"{digits} cm", f"{digits}!",
            rf"\sqrt{{{digits}}}", rf"\sqrt[{digits[:9]}]{{{digits[:40]}}}", f"{digits[:60]}x",
        ]
    )  # fmt: skip


def work(draw: random.Random) -> str:
    """Short to write and long to work out."""
    n = draw.choice([20, 300, 5_000, 10**6, 10**9])
    return draw.choice(
        [
            f"{n}!", f"{n}!!", rf"\binom{{{n}}}{{{n // 2}}}", rf"\sum_{{k=1}}^{{{n}}} k^{{k}}",
            rf"\prod_{{k=1}}^{{{n}}} (x+k)", f"(x+1)^{{{n}}}", f"(x+y+z+1)^{{{min(n, 5000)}}}",
            rf"\int_0^{{{n}}} e^{{x^2}} \sin(x^{{{min(n, 300)}}}) dx", rf"x^{{1/{n}}}",
            rf"\lim_{{x \to 0}} \frac{{\sin({n}x)}}{{x^{{{min(n, 50)}}}}}", rf"{n} \mod 7",
            rf"\cos({n}x) + \sin({n}x)^{{{min(n, 300)}}}", rf"\gcd({n}, x)", rf"\log_{{{n}}}({n}!)",
            rf"\frac{{d^{{{min(n, 300)}}}}}{{dx^{{{min(n, 300)}}}}} e^{{x^2}}", rf"F_{{{n}}}",
        ]
    )  # fmt: skip


def nested(draw: random.Random) -> str:
    """Brackets, roots and fractions inside each other."""
    depth = draw.choice([3, 10, 19, 20, 21, 40, 150, 1_000, 20_000])
    opening, closing = draw.choice(
        [
            ("(", ")"), ("[", "]"), ("{", "}"), (r"\{", r"\}"), (r"\sqrt{", "}"),
            (r"\frac{1}{", "}"), (r"\text{", "}"), (r"\left(", r"\right)"), ("-", ""), ("x^{", "}"),
            (r"\sin(", ")"), ("|", "|"), (r"\boxed{", "}"), ("1+(", ")"), ("(1, ", "]"),
            (r"\log(", ")"), (r"\sin((x+1)^{9}+", ")"), ("f(", ")"),
            ("(1+x^{2})^{7}(", ")^{3}"), (r"\overline{", "}"),
        ]
    )  # fmt: skip
    close = depth if draw.random() < 0.7 else draw.randint(0, depth)
    return opening * depth + draw.choice(["x", "1", "", "12"]) + closing * close


def formula(draw: random.Random) -> str:
    """Well-formed, and dear to multiply out: powers of sums of functions of powers."""
    text = draw.choice(["x", "x+1", "x+y+z", r"\sqrt{999999937}", "0.5"])
    for _ in range(draw.randint(1, 12)):
        text = draw.choice(
            [
                rf"({text}+y)^{{{draw.choice([2, 9, 40, 41, 1000])}}}", rf"\sin({text})",
                rf"\frac{{{text}}}{{{text}+1}}", rf"({text})({text})", rf"({text})^{{-3}}+z",
                rf"e^{{{text}}}", rf"\sqrt{{{text}}}", rf"\log_{{2}}({text}+1)", f"-({text})",
                f"({text}-x)^{{{text[:20]}}}",
            ]
        )[:20_000]  # fmt: skip
    return text


def long_list(draw: random.Random) -> str:
    """Very many items, terms or cells."""
    n = draw.choice([5, 50, 300, 3_000])
    joint = draw.choice([", ", ",", "; ", " or ", r" \cup ", "+", "*", "=", " < ", " & ", r" \\ "])
    item = draw.choice(["1", "x", "[1,2]", "(1,2)", r"\frac{1}{2}", "x_{1}", r"\sqrt{2}", "a b"])
    text = joint.join([item] * n)
    wrap = draw.choice(["{}", r"\{{{}\}}", "({})", r"\begin{{pmatrix}} {} \end{{pmatrix}}"])
    return wrap.format(text)


def mutated(draw: random.Random) -> str:
    """A valid answer with characters dropped, doubled, moved or replaced."""
    text = list(draw.choice(VALID + GOLDS))
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(text) + 1)
        match draw.randrange(4):
            case 0:
                text[place:place] = draw.choice(PIECES)
            case 1:
                del text[place : place + draw.randint(1, 3)]
            case 2:
                text[place:place] = text[max(0, place - 5) : place] * draw.choice([1, 2, 50])
            case _:
                text[place : place + 1] = chr(draw.randrange(32, 127))
    return "".join(text)


def noise(draw: random.Random) -> str:
    """Any characters there are, lone surrogates among them."""
    ranges = (
        *((0, 32), (32, 127), (0x300, 0x36F), (0x590, 0x6FF), (0x2070, 0x2BFF)),
        *((0xD800, 0xDFFF), (0xFF00, 0xFFEF), (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F)),
    )
    return "".join(chr(draw.randrange(*draw.choice(ranges))) for _ in range(draw.randint(1, 60)))


def megabytes(draw: random.Random) -> str:
    """One to two megabytes of one thing."""
    unit = draw.choice(["{", "}", "(", "9", "x", "+x", r"\boxed{", "\\", " ", r"\frac", "1,", "½"])
    return unit * (draw.randint(1_000_000, 2_000_000) // len(unit))


KINDS: dict[Callable[[random.Random], str], float] = {
    pieces: 0.25,
    mutated: 0.35,
    noise: 0.1,
    nested: 0.1,
    formula: 0.1,
    huge_number: 0.06,
    long_list: 0.08,
    tower: 0.03,
    work: 0.02,
    megabytes: 0.005,
}
"""How often each kind of string is drawn, as weights."""

VERIFIERS = {"math": 0.94, "choice": 0.02, "exact": 0.02, "verdict": 0.02}


@dataclass(frozen=True)
class Case:
    """A response to be graded. ``kind``: what made it."""

    kind: str
    verifier: str
    gold: str
    response: str


def cases(seed: int) -> Iterator[Case]:
    """Hostile responses without end."""
    draw = random.Random(seed)
    while True:
        kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
        verifier = draw.choices(list(VERIFIERS), list(VERIFIERS.values()))[0]
        gold = draw.choice(["yes", "no", "A", "B"]) if verifier == "verdict" else draw.choice(GOLDS)
        inside = kind(draw)
        response = inside if draw.random() < 0.05 else rf"So \boxed{{{inside}}}."
        yield Case(kind.__name__, verifier, gold, response)


@dataclass
class Findings:
    """What a run of the fuzzer saw. ``bad``: grades that no response may have."""

    graded: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    slow: Counter[str] = field(default_factory=Counter)
    correct: int = 0
    longest: float = 0.0
    late: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    memory_mib: list[int] = field(default_factory=list)
    graders_mib: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    left_over: int = 0


def allowed(deadline: float, workers: int) -> float:
    """Seconds by the clock within which one response must be graded.

    The deadline is of processor time, which others of this machine may delay: three times as
    much by the clock, then the kill, twice where the pool starts a process anew.
    """
    return (3 * deadline + 0.5 + 5.0) * (1 + workers)


def fuzz(count: int, seed: int, *, workers: int, deadline: float, progress: bool) -> Findings:
    """Grade ``count`` hostile responses one by one, on ``workers`` threads and processes."""
    found = Findings()
    drawn = islice(cases(seed), count)
    start = time.monotonic()
    with (
        GraderProcesses(workers=workers, deadline=deadline) as pool,
        ThreadPoolExecutor(workers) as threads,
    ):
        pool.grade("math", "x+1", [r"\boxed{1+x}"])
        while chunk := list(islice(drawn, 500)):
            for case, (grade, seconds) in zip(
                chunk, threads.map(lambda case: _timed(pool, case), chunk), strict=True
            ):
                _note(found, case, grade, seconds, allowed(deadline, workers))
            if found.graded % 5_000 < 500:
                _watch(found)
            if progress:
                seconds = round(time.monotonic() - start)
                sys.stderr.write(f"{found.graded} {dict(found.reasons)} {seconds} s\n")
        last = pool.grade("math", "x+1", [r"\boxed{1+x}", r"\boxed{x}"])
        if [grade.correct for grade in last] != [True, False]:
            found.bad.append(f"after all of it: {last}")
    found.left_over = len(grader_processes())
    found.seconds = time.monotonic() - start
    return found


def _timed(pool: GraderProcesses, case: Case) -> tuple[Grade, float]:
    start = time.monotonic()
    grade = pool.grade(case.verifier, case.gold, [case.response])[0]
    return grade, time.monotonic() - start


def _note(found: Findings, case: Case, grade: Grade, seconds: float, limit: float) -> None:
    found.graded += 1
    found.reasons[str(grade.reason)] += 1
    found.correct += grade.correct
    found.longest = max(found.longest, seconds)
    what = f"{case.kind} {case.verifier} {case.gold!r} {case.response[:80]!r}"
    if grade.reason in (Reason.TIMEOUT, Reason.ERROR):
        found.slow[f"{case.kind} {grade.reason}"] += 1
    if seconds > limit:
        found.late.append(f"{seconds:.1f} s: {what}")
    sound = (
        grade.reward == float(grade.correct)
        and (grade.reason is Reason.OK or not grade.correct)
        and grade.extracted == last_boxed(case.response)
        and (grade.extracted is not None or grade.reason is not Reason.OK)
    )
    if not sound:
        found.bad.append(f"{grade}: {what}")


def _watch(found: Findings) -> None:
    """Note the memory, open files and grader processes of this moment."""
    gc.collect()
    here = psutil.Process()
    found.memory_mib.append(here.memory_info().rss // 2**20)
    found.files.append(here.num_fds())
    graders = grader_processes()
    found.processes.append(len(graders))
    sizes = [process.memory_info().rss for process in graders if process.is_running()]
    found.graders_mib.append(max(sizes, default=0) // 2**20)


def grader_processes() -> list[psutil.Process]:
    """Processes below this one that could grade: below the fork server, that is."""
    servers = psutil.Process().children()
    return [child for server in servers for child in server.children(recursive=True)]


MEMORY = 6 * 2**30
"""Address space that this process may take, in bytes: what eats more is found out here."""


def main() -> None:
    """Run, and print what was found as JSON; exit with 1 if anything was wrong."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--deadline", type=float, default=1.0)
    asked = parser.parse_args()
    found = fuzz(
        asked.count, asked.seed, workers=asked.workers, deadline=asked.deadline, progress=True
    )
    sys.stdout.write(json.dumps(vars(found), indent=1) + "\n")
    sys.exit(bool(found.late or found.bad or found.left_over))


if __name__ == "__main__":
    main()
