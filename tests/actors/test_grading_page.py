"""The tables of docs/grading.md are those of the code.

After a change of one: ``python tests/actors/test_grading_page.py`` writes them anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from actors.graders import numbers, rational, registry, shapes, tidy, units, worker
from contracts import grammar
from tests.actors.grader_cases import CASES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "grading.md"


def code(text: str) -> str:
    """``text`` in a cell of a table, as it is."""
    ticks = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{ticks}{pad}{text}{pad}{ticks}".replace("|", r"\|")


def listed(texts: Iterable[str]) -> str:
    return ", ".join(code(text) for text in texts)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def asks() -> str:
    return table(
        ("asked for", "with the words"),
        [
            ("an answer", code(grammar.ASK_ANSWER)),
            ("whether one is right", code(grammar.ASK_YES_NO)),
            ("which of two is", code(grammar.ASK_A_B)),
        ],
    )


def verdicts() -> str:
    words = table(
        ("verdict", "words", "may be followed, behind a comma or colon, by"),
        [
            (code(name), listed(found), listed(grammar.VERDICT_ECHOES[name]))
            for name, found in grammar.VERDICT_WORDS.items()
        ],
    )
    edges = [edge for edge in grammar.VERDICT_EDGES if not edge.isspace()]
    return (
        f"{words}\n\nAround them, nothing else than blanks, {listed(edges)}, one pair of brackets, "
        f"and {listed(chr(92) + name for name in grammar.VERDICT_WRAPPERS)}."
    )


def types() -> str:
    rows = []
    for kind, cases in CASES.items():
        for row in cases[:2]:
            wrong = [text for text in row.wrong if text.strip()]
            rows.append((kind, code(row.gold), listed(row.right[:6]), listed(wrong[:6])))
    return table(("type", "gold answer", "right", "wrong"), rows)


def characters() -> str:
    by_meaning: dict[str, list[str]] = {}
    for character, meaning in tidy.CHARACTERS.items():
        by_meaning.setdefault(meaning.strip(), []).append(character)
    return table(
        ("characters", "read as"),
        [
            (" ".join(f"U+{ord(c):04X} {c}".strip() for c in found), code(meaning))
            for meaning, found in by_meaning.items()
        ],
    )


def commands() -> str:
    def slashed(names: Iterable[str]) -> str:
        return listed(f"\\{name}" for name in names)

    by_meaning: dict[str, list[str]] = {}
    for name, meaning in tidy.COMMANDS.items():
        by_meaning.setdefault(meaning.strip(), []).append(name)
    rows = [(slashed(names), code(meaning)) for meaning, names in by_meaning.items()]
    rows.append((slashed(sorted(tidy.SPACES)), "a blank"))
    rows.append((slashed(sorted(tidy.LAYOUT)), "nothing"))
    rows.append((slashed(sorted(tidy.WRAPPERS)), "what is inside"))
    return table(("commands", "read as"), rows)


def all_units() -> str:
    rows = [
        (kind, listed(names.split()), code(factor))
        for kind, found in units.UNITS.items()
        for names, factor in found
    ]
    scales = ", ".join(f"{name} {factor:,}" for name, factor in units.SCALES.items())
    speeds = ", ".join(f"{code(name)} as {code(full)}" for name, full in units.SPEEDS.items())
    return (
        f"{table(('kind', 'names', 'factor'), rows)}\n\nAbbreviations: {speeds}.\n\n"
        f"Words that multiply: {scales}.\n\n"
        f"Words behind a number that are no unit: {listed(sorted(units.NO_UNIT))}."
    )


def bounds() -> str:
    return table(
        ("what", "bound"),
        [
            ("longest verdict", f"{grammar.LONGEST_VERDICT} characters"),
            ("longest answer, unless the gold answer is longer", f"{tidy.MAX_ANSWER} characters"),
            ("deepest nesting of brackets", f"{shapes.MAX_DEPTH}"),
            ("largest power of ten", f"10^{numbers.MAX_EXPONENT}"),
            ("fewest digits of a rounded value", f"{numbers.MIN_ROUNDED_DIGITS}"),
            ("longest response graded in the caller's process", f"{registry.MAX_QUICK:,}"),
            (
                "largest power, terms without sympy",
                f"{rational.MAX_EXPONENT}, {rational.MAX_TERMS}",
            ),
            ("memory of a grader process", f"{worker.MEMORY_LIMIT / 2**30:.0f} GiB"),
        ],
    )


BLOCKS = {
    "asks": asks,
    "verdicts": verdicts,
    "types": types,
    "characters": characters,
    "commands": commands,
    "units": all_units,
    "bounds": bounds,
}


def block(page: str, name: str) -> str:
    found = re.search(rf"<!-- begin {name} -->\n(.*?)<!-- end {name} -->", page, re.DOTALL)
    assert found, f"no block {name!r} in {PAGE.name}"
    return found[1]


@pytest.mark.parametrize("name", BLOCKS)
def test_the_tables_on_the_page_are_those_of_the_code(name: str) -> None:
    assert block(PAGE.read_text(), name) == f"\n{BLOCKS[name]()}\n\n"


def test_every_cell_of_a_table_is_one_cell() -> None:
    for name, make in BLOCKS.items():
        rows = [line for line in make().splitlines() if line.startswith("|")]
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
        assert len(counts) == 1, name


def main() -> None:
    """Write the tables anew."""
    page = PAGE.read_text()
    for name, make in BLOCKS.items():
        old = f"<!-- begin {name} -->\n{block(page, name)}"
        page = page.replace(old, f"<!-- begin {name} -->\n\n{make()}\n\n")
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
