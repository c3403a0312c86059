"""The natural style: wordings for instruction-tuned models, several per objective.

A candidate may be a final answer or a whole solution of many lines, so every wording gives
it lines of its own and calls it by a word that fits both.
"""

from __future__ import annotations

from contracts.grammar import ASK_A_B, ASK_ANSWER, ASK_YES_NO
from contracts.types import Objective
from recycler.wording import PromptTemplate, Style

_SOLVE = {
    "solve-1": "$question\nThink step by step. {ask}",
    "solve-2": "Solve this problem and show your working.\n\n$question\n\n{ask}",
    "solve-3": "Question: $question\nReason through it carefully before you answer. {ask}",
}

_POINTWISE = {
    "point-1": (
        "Question: $question\nProposed answer: $candidate\n"
        "Is the proposed answer correct? Think step by step. {ask}"
    ),
    "point-2": (
        "Here is a problem and somebody's response to it.\n\nProblem: $question\n\n"
        "Response:\n$candidate\n\n"
        "Work the problem out yourself, then compare. Is the response correct? {ask}"
    ),
    "point-3": (
        "You are marking homework.\n\nExercise: $question\n\nThe pupil handed in:\n$candidate\n\n"
        "Explain what you find, then mark it. {ask}"
    ),
    "point-4": (
        "$question\n\nA colleague says:\n$candidate\n\n"
        "Do you get the same result? Show your working before you decide. {ask}"
    ),
    "point-5": (
        "Verify the result below. Do not trust it: derive it again and look for mistakes.\n\n"
        "Problem: $question\nResult: $candidate\n\n{ask}"
    ),
    "point-6": (
        "Problem: $question\n\nSubmitted solution:\n$candidate\n\n"
        "Give your reasons first. Then say whether its final answer is correct. {ask}"
    ),
    "point-7": (
        "The question was: $question\nThe reply was:\n$candidate\n"
        "Check each step that leads to the reply, or find the steps yourself. {ask}"
    ),
}

_PAIRWISE = {
    "pair-1": (
        "Question: $question\nAnswer A: $first\nAnswer B: $second\n"
        "One of the two is correct. Compare them step by step. {ask}"
    ),
    "pair-2": (
        "Two pupils disagree about this problem.\n\nProblem: $question\n\n"
        "Pupil A:\n$first\n\nPupil B:\n$second\n\n"
        "Exactly one of them is right. Work it out, then decide. {ask}"
    ),
    "pair-3": (
        "$question\n\n[A]\n$first\n\n[B]\n$second\n\n"
        "Solve the problem yourself and see which one agrees with you. {ask}"
    ),
    "pair-4": (
        "Compare two responses to a question; one is correct and one is not.\n\n"
        "Question: $question\n\nResponse A:\n$first\n\nResponse B:\n$second\n\n"
        "Explain where the wrong one goes astray. {ask}"
    ),
    "pair-5": (
        "Problem: $question\n\nCandidate A:\n$first\n\nCandidate B:\n$second\n\n"
        "The order of the candidates means nothing. Reason first, choose last. {ask}"
    ),
    "pair-6": (
        "You referee a contest. The task was: $question\n\nEntry A:\n$first\n\n"
        "Entry B:\n$second\n\nOnly one entry is right. Justify your ruling. {ask}"
    ),
}

_REFLECT = {
    "reflect-1": (
        "Question: $question\nProposed answer: $candidate\n"
        "Check the proposed answer. Keep it if it is right, mend it if it is wrong. {ask}"
    ),
    "reflect-2": (
        "Problem: $question\n\nAn earlier attempt:\n$candidate\n\n"
        "The attempt may or may not be right. Go through it again and give the answer you "
        "stand by. {ask}"
    ),
    "reflect-3": (
        "$question\n\nYou wrote:\n$candidate\n\n"
        "Take a second look. Find any mistake and correct it; change nothing that is right. {ask}"
    ),
    "reflect-4": (
        "Review this draft before it is published.\n\nProblem: $question\n\n"
        "Draft:\n$candidate\n\n"
        "Confirm its result or replace it, and say why. {ask}"
    ),
    "reflect-5": (
        "Question: $question\n\nSuggested:\n$candidate\n\n"
        "Derive the answer independently. If yours differs, find out which one is wrong. {ask}"
    ),
    "reflect-6": (
        "A friend asks you to double-check this.\n\nProblem: $question\nTheir work:\n$candidate\n\n"
        "Tell them whether it holds, and finish with the right result in any case. {ask}"
    ),
}


def _wordings(texts: dict[str, str], ask: str) -> tuple[PromptTemplate, ...]:
    return tuple(PromptTemplate(name, text.replace("{ask}", ask)) for name, text in texts.items())


NATURAL: Style = {
    Objective.SOLVE: _wordings(_SOLVE, ASK_ANSWER),
    Objective.POINTWISE: _wordings(_POINTWISE, ASK_YES_NO),
    Objective.PAIRWISE: _wordings(_PAIRWISE, ASK_A_B),
    Objective.REFLECT: _wordings(_REFLECT, ASK_ANSWER),
}
