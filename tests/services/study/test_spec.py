"""A study as its file says it, and what is said where the file is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_studies import study

from contracts.errors import UserError
from contracts.nested import flat
from services.study.expand import configure_all, expand
from services.study.measures import DEFAULT_MEASURES, MEASURES
from services.study.place import Place
from services.study.spec import changed, find_study, load_study, shipped_names

WHOLE = """\
name: whole
about: Everything that a study can say.
base: spark
set: {steps: 7, learner: {weights: {solve: 2}}}
arms:
  one: {about: first, set: {recycle.answered: false}}
  two:
    base: spark-paper
    set: {recycle.prompts_of: "{run:one}"}
    take: {solving: one}
axes:
  sampling.completions: [4, 8]
  generators.count: {values: [1, 2], kind: strong, title: engines, with: {learner.ranks: [1, 2]}}
seeds: [3, 5]
seed_fields: [seed, model.warm_start.seed]
measure: [solving, tokens_per_second]
hold: {sampled_tokens: 1000}
baseline: one
longest: 100
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def test_a_study_is_the_same_when_it_is_written_and_read_again(tmp_path: Path) -> None:
    first = load_study(written(tmp_path, WHOLE))[0]
    assert first.seed_list == (3, 5)
    assert first.axes["generators.count"].together == {"learner.ranks": [1, 2]}
    assert first.arms["two"].take == {"solving": "one"}
    assert load_study(written(tmp_path, first.text()))[0] == first


def test_seeds_may_be_a_number() -> None:
    assert study(seeds=4).seed_list == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("seeds: [3, 5]", "seed: 3", ":14: seed: unknown key"),
        ("seeds: [3, 5]", "seeds: [3, 3]", "one is given twice"),
        ("baseline: one", "baseline: won", "no arm 'won'"),
        ("take: {solving: one}", "take: {solvin: one}", "did you mean solving?"),
        ("take: {solving: one}", "take: {solving: three}", "no other arm 'three'"),
        ("measure: [solving,", "measure: [solveing,", "did you mean solving?"),
        ("[4, 8]", "[4, 4]", "given twice"),
        ("learner.ranks: [1, 2]", "learner.ranks: [1]", "1 values for 2"),
        ("values: [1, 2], kind", "values: [0, 2], kind", "above 0"),
        ("learner.ranks: [1, 2]", "sampling.completions: [1, 2]", "two axes set"),
        ("hold: {sampled_tokens: 1000}", "hold: {tokens: 1000}", "tokens"),
        ("hold: {sampled_tokens: 1000}", "hold: {steps: 1, seconds: 2}", "at most 1"),
        ("name: whole", "name: a--b", "must match"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, line: str, instead: str, said: str
) -> None:
    assert line in WHOLE
    path = written(tmp_path, WHOLE.replace(line, instead))
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_configuration_file_is_found_beside_the_study(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("steps: 3\n")
    path = written(tmp_path, "name: s\nbase: mine.yaml\narms: {a: {base: mine.yaml}, b: {}}\n")
    found, _ = load_study(path)
    assert found.base == found.arms["a"].base == str(tmp_path / "mine.yaml")


def test_a_study_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UserError, match="Did you mean smoke"):
        find_study("smok")


def test_the_command_line_goes_over_the_file() -> None:
    made = study(arms={"a": {}, "b": {}, "c": {}}, baseline="c", force={"steps": 2})
    found = changed(made, name="short", seeds=1, arms=["b", "a"], force={"seed_fields": 1})
    assert (found.name, found.seed_list, list(found.arms)) == ("short", (0,), ["a", "b"])
    assert found.baseline is None
    assert found.force == {"steps": 2, "seed_fields": 1}
    with pytest.raises(UserError, match="no arm 'd'"):
        changed(made, arms=["d"])


def test_what_is_held_equal_can_be_another_amount() -> None:
    found = changed(study(hold={"seconds": 60}), force={"budget.seconds": 5, "steps": 3})
    assert found.hold == {"seconds": 5}
    assert found.force == {"steps": 3}


def test_nested_and_dotted_fields_are_the_same() -> None:
    assert flat({"a": {"b": 1, "c.d": 2}, "e.f": {"g": 3}}) == {"a.b": 1, "a.c.d": 2, "e.f.g": 3}


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_study_can_be_run(name: str, tmp_path: Path) -> None:
    path = find_study(name)
    found, document = load_study(path)
    assert found.name == name
    assert found.about
    place = Place(tmp_path / name)
    planned = expand(found, place)
    configs = configure_all(planned, place, path, document)
    assert (
        len(configs)
        == len(planned)
        == len(found.seed_list) * len(set(r.configuration for r in planned))
    )


def test_the_default_measures_are_measures() -> None:
    assert set(DEFAULT_MEASURES) <= set(MEASURES)
