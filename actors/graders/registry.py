"""The graders by name, and the grading of one completion."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from actors.graders import algebra
from actors.graders.choices import read_letters
from actors.graders.spelling import to_latex
from actors.graders.typed import same_answer
from contracts.errors import UserError
from contracts.grammar import last_boxed, verdict_of
from contracts.types import Completion, Grade, Prompt, Reason

Grader = Callable[[str, str], Grade]
"""(response, gold) -> grade. A pure function; it may be slow, and is then killed."""

MAX_QUICK = 200_000
"""Longest response, in characters, that is graded in the caller's own process."""


def math(response: str, gold: str) -> Grade:
    """The last box against a gold answer of any type. See ``actors.graders.typed``."""
    return _by_box(response, lambda answer: same_answer(gold, answer, _symbolic))


def choice(response: str, gold: str) -> Grade:
    """The last box as one or several letters A to Z."""
    wanted = read_letters(gold)
    return _by_box(response, lambda answer: bool(wanted) and read_letters(answer) == wanted)


def exact(response: str, gold: str) -> Grade:
    """The last box against the gold answer, character by character, blanks collapsed."""
    return _by_box(response, lambda answer: answer.split() == gold.split())


def verdict(response: str, gold: str) -> Grade:
    """The last box as a verdict against ``yes``, ``no``, ``A`` or ``B``.

    Raises:
        UserError: ``gold`` is no verdict.
    """
    wanted = verdict_of(gold)
    if wanted is None:
        raise UserError(f"{gold!r} is not a verdict", remedy="label verdicts with yes, no, A or B")
    return _by_box(response, lambda answer: verdict_of(answer) == wanted)


def _by_box(response: str, matches: Callable[[str], bool]) -> Grade:
    answer = last_boxed(response)
    if answer is None:
        return Grade(0.0, False, None, Reason.NO_ANSWER)
    correct = matches(answer)
    return Grade(float(correct), correct, answer, Reason.OK)


def _symbolic(gold: str, answer: str) -> bool:
    """Equality of expressions, or of equations where both have an equals sign."""
    from actors.graders import symbolic

    decided = _algebraic(gold, answer)
    if decided is not None:
        return decided
    left, right = _sides(gold), _sides(answer)
    if left and right:
        return symbolic.same_equation(left, right)
    return symbolic.same_expression(gold, answer)


def _sides(text: str) -> tuple[str, str] | None:
    """What stands before and behind the first equals sign; None without one."""
    before, sign, behind = text.partition("=")
    return (before, behind) if sign else None


def _algebraic(gold: str, answer: str) -> bool | None:
    """The same where it can be had without sympy, else None."""
    gold, answer = to_latex(gold), to_latex(answer)
    left, right = _sides(gold), _sides(answer)
    if left and right:
        return algebra.same_equation(left, right)
    return None if left or right else algebra.same_expression(gold, answer)


class _NeedsSymbolicError(Exception):
    """Raised where a quick grade would need sympy."""


def _without_sympy(gold: str, answer: str) -> bool:
    decided = _algebraic(gold, answer)
    if decided is None:
        raise _NeedsSymbolicError
    return decided


def _quick_math(response: str, gold: str) -> Grade:
    return _by_box(response, lambda answer: same_answer(gold, answer, _without_sympy))


GRADERS: dict[str, Grader] = {"math": math, "choice": choice, "verdict": verdict, "exact": exact}
"""The graders that have a name."""

_QUICK: dict[str, Grader] = {**GRADERS, "math": _quick_math}


def quick_grade(name: str, response: str, gold: str) -> Grade | None:
    """A grade without sympy and in bounded time, or None if that cannot be had.

    This is what may run in a process that must not hang.
    """
    quick = _QUICK.get(name)
    if quick is None or len(response) > MAX_QUICK or len(gold) > MAX_QUICK:
        return None
    try:
        return quick(response, gold)
    except _NeedsSymbolicError:
        return None


@lru_cache(maxsize=64)
def grader(name: str) -> Grader:
    """The grader of that name, or the user's own ``module:function``.

    Raises:
        UserError: there is no such grader; the message lists those there are.
    """
    if name in GRADERS:
        return GRADERS[name]
    module_name, colon, function_name = name.partition(":")
    if not colon or not module_name or not function_name:
        raise _unknown(name, "there is no such grader")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise _unknown(name, f"module {module_name!r} cannot be imported ({error})") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise _unknown(name, f"module {module_name!r} has no function {function_name!r}")
    return _checked(name, function)


def _unknown(name: str, why: str) -> UserError:
    return UserError(
        f"verifier {name!r}: {why}",
        remedy=f"use one of {', '.join(GRADERS)}, or module:function of a function "
        "(response, gold) -> contracts.types.Grade",
    )


def _checked(name: str, function: Callable[[str, str], object]) -> Grader:
    """``function``, with its result checked: a wrong type would surface far from here."""

    def grade(response: str, gold: str) -> Grade:
        result = function(response, gold)
        if not isinstance(result, Grade):
            raise TypeError(f"verifier {name!r} returned {type(result).__name__}, not a Grade")
        return result

    return grade


def settle(grade: Grade, completion: Completion) -> Grade:
    """``grade`` with what the end of the completion says: a cut-off one earns nothing."""
    if completion.finish == "stop":
        return grade
    return replace(grade, reward=0.0, correct=False, reason=Reason.TRUNCATED)


def grade_completion(prompt: Prompt, completion: Completion) -> Grade:
    """Grade one completion in this process, without a deadline.

    A completion that was cut off has reason ``truncated`` and reward 0; one without a box
    ``no_answer``. ``extracted`` is kept wherever there is one.

    Raises:
        UserError: the prompt names a grader that does not exist.
    """
    return settle(grader(prompt.verifier)(completion.text, prompt.label), completion)
