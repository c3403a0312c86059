"""From a study to the configurations of its runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_studies import session, study

from contracts.errors import UserError
from services.study.expand import configuration_name, configure_all, expand
from services.study.place import Place
from services.study.spec import load_study


def test_arms_axes_and_seeds_are_all_combined(tmp_path: Path) -> None:
    made = study(
        arms={"a": {}, "b": {"set": {"steps": 3}}},
        axes={"sampling.completions": [4, 8], "learner.ranks": [1, 2]},
        seeds=[7, 9],
    )
    found = session(made, tmp_path)
    assert len(found.planned) == 2 * 4 * 2
    assert [run.name for run in found.planned][:3] == [
        "a--completions-4--ranks-1--7",
        "b--completions-4--ranks-1--7",
        "a--completions-4--ranks-2--7",
    ]
    config = found.configs["b--completions-8--ranks-2--9"]
    assert (config.steps, config.sampling.completions) == (3, 8)
    assert (config.learner.ranks, config.seed) == (2, 9)
    assert config.folder == tmp_path / "made" / "runs" / config.name
    assert config.tasks.seed == found.configs["a--completions-4--ranks-1--7"].tasks.seed


def test_what_is_given_nearer_to_the_run_goes_first(tmp_path: Path) -> None:
    made = study(
        base="spark-paper",
        set={"steps": 1, "tasks_per_step": 9, "learner.weights.solve": 3},
        hold={"steps": 5},
        arms={"a": {"set": {"tasks_per_step": 10}}},
        axes={"learner.learning_rate": {"values": [1e-3], "with": {"learner.clip_low": [0.1]}}},
        force={"learner.clip_low": 0.3},
        seeds=1,
    )
    (config,) = session(made, tmp_path).configs.values()
    assert (config.steps, config.tasks_per_step) == (5, 10)
    assert (config.learner.learning_rate, config.learner.clip_low) == (1e-3, 0.3)
    assert config.learner.weights["solve"] == 3
    assert config.schedule == "sequential"


@pytest.mark.parametrize("what", ["sampled_tokens", "trained_tokens", "seconds"])
def test_what_is_held_equal_becomes_the_budget_of_each_run(tmp_path: Path, what: str) -> None:
    found = session(study(hold={what: 500}, seeds=1), tmp_path)
    (config,) = found.configs.values()
    assert getattr(config.budget, what) == 500
    assert config.steps == 10


def test_seeds_go_where_they_are_to(tmp_path: Path) -> None:
    made = study(seeds=[4], seed_fields=["seed", "model.warm_start.seed", "tasks.seed"])
    (config,) = session(made, tmp_path).configs.values()
    assert (config.seed, config.model.warm_start.seed, config.tasks.seed) == (4, 4, 4)


def test_an_arm_that_needs_another_s_run_comes_after_it_with_the_same_seed(tmp_path: Path) -> None:
    made = study(
        arms={
            "apart": {"set": {"recycle.prompts_of": "{run:first}"}},
            "first": {"set": {"recycle.answered": False}},
        },
        axes={"sampling.completions": [4, 8]},
        seeds=2,
    )
    found = session(made, tmp_path)
    names = [run.name for run in found.planned]
    for seed in (0, 1):
        for size in (4, 8):
            ours, theirs = (
                f"apart--completions-{size}--{seed}",
                f"first--completions-{size}--{seed}",
            )
            assert names.index(theirs) < names.index(ours)
            path = found.configs[ours].recycle.prompts_of
            assert path == found.configs[theirs].folder
    assert names.index("first--completions-4--1") > names.index("apart--completions-8--0")


def test_arms_that_need_each_other_are_refused(tmp_path: Path) -> None:
    made = study(
        arms={
            "a": {"set": {"recycle.prompts_of": "{run:b}"}},
            "b": {"set": {"recycle.prompts_of": "{run:a}"}},
        }
    )
    with pytest.raises(UserError, match="need each other"):
        expand(made, Place(tmp_path))


def test_an_arm_that_is_not_there_cannot_be_needed(tmp_path: Path) -> None:
    made = study(arms={"first": {}, "b": {"set": {"recycle.prompts_of": "{run:frist}"}}})
    with pytest.raises(UserError, match="Did you mean first"):
        expand(made, Place(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"set": {"name": "x"}},
        {"set": {"seed": 3}},
        {"arms": {"a": {"set": {"runs_dir": "x"}}}},
        {"axes": {"seed": [1, 2]}},
        {"axes": {"steps": {"values": [1, 2], "with": {"seed": [1, 2]}}}},
        {"set": {"model": {"warm_start": {"seed": 3}}}, "seed_fields": ["model.warm_start.seed"]},
    ],
)
def test_nobody_sets_what_the_study_sets(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set by the study itself"):
        expand(study(**changes), Place(tmp_path))


def test_values_that_look_the_same_in_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two runs would be called"):
        expand(study(axes={"tasks.operators": ["+", "-"]}), Place(tmp_path))


def test_axes_with_the_same_last_word_are_told_apart() -> None:
    made = study(axes={"generators.threads": [1, 2], "learner.threads": [1, 2]})
    name = configuration_name(made, "", (("generators.threads", 1), ("learner.threads", 2)))
    assert name == "generators-threads-1--learner-threads-2"


def test_all_problems_of_all_configurations_are_said_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\n"
        "set:\n"
        "  stepps: 3\n"
        "arms:\n"
        "  a:\n"
        "    set: {recycle: {style: terze}}\n"
        "  b: {}\n"
        "axes:\n"
        "  sampling.completions: [4, 1]\n"
    )
    made, document = load_study(path)
    place = Place(tmp_path / "s")
    with pytest.raises(UserError) as caught:
        configure_all(expand(made, place), place, path, document)
    said = str(caught.value)
    assert f"{path}:3: stepps: unknown key" in said
    assert "Did you mean steps?" in said
    assert f"{path}:6" in said
    assert "Did you mean terse?" in said
    assert f"{path}:9" in said
    assert "at least 2" in said
