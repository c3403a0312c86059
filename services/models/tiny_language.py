r"""The language of the tiny model: its words, its tokenizer, its derivations and their faults.

The tiny model is asked in the terse prompt style about sums such as ``12+34``, and answers
with a derivation, column by column and units first, then a box::

    Solve 57+68                        7+8+0=15,5+6+1=12,\boxed{125}
    Solve 57+68 Proposed 115 Correct?  7+8+0=15,5+6+1=12,55ok21no11ok\boxed{No}

A column of an addition is ``digit+digit+carry=carry digit``. A column of a subtraction has
the borrowed ten in front: ``12-8-0=4``. A negative result starts with ``-`` and goes on with
the larger minus the smaller. A check puts the derived digit, the proposed digit and a mark
side by side, units first, shorter numbers padded with 0, the signs last if one is negative.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase, Qwen2Tokenizer

from contracts.config import WarmStartConfig
from contracts.grammar import BOX
from contracts.types import Objective

BOS, EOS, PAD, UNKNOWN, ANSWER_MARK = "<s>", "</s>", "<pad>", "<unk>", "<a>"
SPECIAL = (PAD, UNKNOWN, BOS, EOS, ANSWER_MARK)
PHRASES = (
    "Which is correct?",
    "Check and answer",
    "Correct?",
    "Proposed",
    "Solve",
    "A:",
    "B:",
    BOX,
    "Yes",
    "No",
    "ok",
    "no",
)
CHARACTERS = tuple("0123456789+-=,}AB")

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}" + ANSWER_MARK + "{% endif %}"
)

_SUM = re.compile(r"(\d+)([+-])(\d+)")
_INTEGER = re.compile(r"([+-]?)(\d+)")


def build_tokenizer(context: int) -> PreTrainedTokenizerBase:
    """A tokenizer in which each phrase, digit and sign is one token.

    It is a ``Qwen2Tokenizer``, because that is what loaders make of the folder of a model of
    that architecture, whatever its files say. Phrases are added tokens, so that its rules for
    splitting text never see them; its byte-level vocabulary holds single characters only, and
    what is not in it, white space too, disappears. Decoding joins the tokens without spaces, so
    that a box keeps its digits together.

    Args:
        context: longest sequence in tokens, written into the tokenizer's configuration.
    """
    words = (*SPECIAL, *CHARACTERS)
    tokenizer = Qwen2Tokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=[],
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        extra_special_tokens=[ANSWER_MARK],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@dataclass(frozen=True, slots=True)
class Sum:
    """``left`` plus or minus ``right``, both at least 0."""

    left: int
    operator: str
    right: int

    @classmethod
    def parse(cls, question: str) -> Sum | None:
        """The sum a question such as ``12+34`` asks for; None if it asks anything else."""
        match = _SUM.fullmatch(question.replace(" ", ""))
        if match is None:
            return None
        return cls(int(match[1]), match[2], int(match[3]))

    @property
    def value(self) -> int:
        """The right answer."""
        return self.left + self.right if self.operator == "+" else self.left - self.right


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities of the faults in a completion. All 0: a faultless one.

    ``carry``: a carry or borrow is forgotten, each time there is one. ``column``: the result
    of a column is off by 1 to 3. ``mark``: a mark of a check is turned over. ``verdict``: the
    verdict is drawn by coin. ``keep``: a reflection boxes the proposed answer unchecked.
    """

    carry: float = 0.0
    column: float = 0.0
    mark: float = 0.0
    verdict: float = 0.0
    keep: float = 0.0

    @classmethod
    def of(cls, config: WarmStartConfig) -> Faults:
        """The rates of the sloppy part of a warm start."""
        return cls(
            carry=config.forgotten_carry,
            column=config.wrong_column,
            mark=config.wrong_mark,
            verdict=config.coin_verdict,
            keep=config.unchecked_reflection,
        )


FAULTLESS = Faults()


@dataclass(frozen=True, slots=True)
class Derivation:
    """The columns written down, and the answer that follows from them, faults included."""

    text: str
    answer: str


def derive(sum_: Sum, faults: Faults, rng: random.Random) -> Derivation:
    """Work ``sum_`` out column by column, committing ``faults`` on the way."""
    if sum_.operator == "+":
        return _derive_addition(sum_, faults, rng)
    return _derive_subtraction(sum_, faults, rng)


def _derive_addition(sum_: Sum, faults: Faults, rng: random.Random) -> Derivation:
    columns, digits, carry = [], [], 0
    for x, y in _digit_pairs(sum_.left, sum_.right):
        if carry and rng.random() < faults.carry:
            carry = 0
        total = x + y + carry
        if rng.random() < faults.column:
            total = min(max(total + _slip(rng), 0), 19)
        columns.append(f"{x}+{y}+{carry}={total:02d},")
        carry, digit = divmod(total, 10)
        digits.append(digit)
    digits.append(carry)
    return Derivation("".join(columns), str(_number(digits)))


def _derive_subtraction(sum_: Sum, faults: Faults, rng: random.Random) -> Derivation:
    sign = "-" if sum_.left < sum_.right else ""
    columns, digits, borrow = [sign], [], 0
    for x, y in _digit_pairs(max(sum_.left, sum_.right), min(sum_.left, sum_.right)):
        if borrow and rng.random() < faults.carry:
            borrow = 0
        taken = borrow
        borrow = int(x - y - taken < 0)
        digit = x + 10 * borrow - y - taken
        if rng.random() < faults.column:
            digit = (digit + _slip(rng)) % 10
        columns.append(f"{borrow}{x}-{y}-{taken}={digit},")
        digits.append(digit)
    number = _number(digits)
    return Derivation("".join(columns), f"{sign if number else ''}{number}")


def _digit_pairs(left: int, right: int) -> list[tuple[int, int]]:
    """The digits of both numbers, units first, the shorter padded with 0."""
    width = max(len(str(left)), len(str(right)))
    return [
        (int(x), int(y))
        for x, y in zip(
            reversed(str(left).zfill(width)), reversed(str(right).zfill(width)), strict=True
        )
    ]


def _slip(rng: random.Random) -> int:
    return rng.choice((-3, -2, -1, 1, 2, 3))


def _number(digits: list[int]) -> int:
    """The number whose digits, units first, are given."""
    return sum(digit * 10**place for place, digit in enumerate(digits))


def check(answer: str, proposed: str, faults: Faults, rng: random.Random) -> tuple[str, bool]:
    """Compare a derived answer with a proposed one, digit by digit.

    Returns:
        The comparison as text, and whether all its marks, faults included, say ``ok``.
        A proposed answer that is no integer gets one ``no`` and nothing to compare.
    """
    own, other = _INTEGER.fullmatch(answer), _INTEGER.fullmatch(proposed.replace(" ", ""))
    if own is None or other is None:
        return "no", False
    width = max(len(own[2]), len(other[2]))
    pairs = list(zip(own[2].zfill(width)[::-1], other[2].zfill(width)[::-1], strict=True))
    if "-" in (own[1], other[1]):
        pairs.append((own[1] or "+", other[1] or "+"))
    text, agreed = "", True
    for mine, theirs in pairs:
        same = (mine == theirs) != (rng.random() < faults.mark)
        text += f"{mine}{theirs}{'ok' if same else 'no'}"
        agreed = agreed and same
    return text, agreed


def box(inside: str) -> str:
    """``inside`` in a box, as the grammar reads it."""
    return f"{BOX}{inside}}}"


def solve(sum_: Sum, faults: Faults, rng: random.Random) -> str:
    """A derivation and its answer."""
    derivation = derive(sum_, faults, rng)
    return derivation.text + box(derivation.answer)


def judge_one(sum_: Sum, proposed: str, faults: Faults, rng: random.Random) -> str:
    """A derivation, a check of ``proposed`` against it, and Yes or No."""
    derivation = derive(sum_, faults, rng)
    comparison, agreed = check(derivation.answer, proposed, faults, rng)
    if rng.random() < faults.verdict:
        agreed = rng.random() < 0.5
    return derivation.text + comparison + box("Yes" if agreed else "No")


def judge_two(sum_: Sum, first: str, faults: Faults, rng: random.Random) -> str:
    """A derivation, a check of the first proposal against it, and A or B.

    One of two proposals is right, so a check of the first one decides.
    """
    derivation = derive(sum_, faults, rng)
    comparison, agreed = check(derivation.answer, first, faults, rng)
    if rng.random() < faults.verdict:
        agreed = rng.random() < 0.5
    return derivation.text + comparison + box("A" if agreed else "B")


def reflect(sum_: Sum, proposed: str, faults: Faults, rng: random.Random) -> str:
    """A derivation, a check of ``proposed`` against it, and the derived answer."""
    derivation = derive(sum_, faults, rng)
    comparison, _ = check(derivation.answer, proposed, faults, rng)
    kept = _INTEGER.fullmatch(proposed) is not None and rng.random() < faults.keep
    return derivation.text + comparison + box(proposed if kept else derivation.answer)


def complete(
    objective: Objective, sum_: Sum, shown: tuple[str, ...], faults: Faults, rng: random.Random
) -> str:
    """A completion of the prompt of ``objective`` that shows the answers ``shown``."""
    match objective:
        case Objective.SOLVE:
            return solve(sum_, faults, rng)
        case Objective.POINTWISE:
            return judge_one(sum_, shown[0], faults, rng)
        case Objective.PAIRWISE:
            return judge_two(sum_, shown[0], faults, rng)
        case Objective.REFLECT:
            return reflect(sum_, shown[0], faults, rng)
