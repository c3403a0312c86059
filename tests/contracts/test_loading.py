"""Configuration from YAML and overrides: layers, presets, and messages about what is wrong."""

from pathlib import Path

import pytest

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.loading import dump_config, find_config, load_config, preset_names


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> Path:
        path = tmp_path / "conf.yaml"
        path.write_text(text)
        return path

    return _write


def message(path: Path | None, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_nothing_given_is_the_default():
    assert load_config(None) == RunConfig()


def test_override_over_file_over_base(write):
    path = write("steps: 20\nlearner:\n  ranks: 2\n")
    base = {"steps": 10, "seed": 7, "learner": {"ranks": 3, "threads": 4}}
    config = load_config(path, ["learner.ranks=1", "learner.betas=[0.8, 0.9]"], base)
    assert (config.steps, config.seed) == (20, 7)
    assert (config.learner.ranks, config.learner.threads) == (1, 4)
    assert config.learner.betas == (0.8, 0.9)
    assert base == {"steps": 10, "seed": 7, "learner": {"ranks": 3, "threads": 4}}


def test_the_last_override_wins():
    assert load_config(None, ["steps=1", "steps=2"]).steps == 2


def test_one_entry_of_a_mapping_leaves_the_others(write):
    default = RunConfig().learner.weights
    config = load_config(write("learner: {weights: {solve: 3}}"), ["learner.weights.reflect=2"])
    assert config.learner.weights == {**default, "solve": 3.0, "reflect": 2.0}


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("tasks.operators=-", "-"),
        ("tasks.operators=*", "*"),
        ("tasks.operators='+'", "+"),
        ("tasks.fields.answer_after=####", "####"),
        ("tasks.fields.id=", ""),
        ("name=2026", "2026"),
        ("model.name=a=b", "a=b"),
        ("learner.shared_prefix=on", "on"),
        ("learner.sampling_cap=null", None),
        ("learner.learning_rate=1e-5", 1e-5),
        ("runs_dir=here", Path("here")),
        ("tasks.path=1.json", Path("1.json")),
    ],
)
def test_values_of_overrides(override, value):
    config = load_config(None, [override])
    found: object = config
    for key in override.split("=")[0].split("."):
        found = getattr(found, key)
    assert found == value


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid_and_survive_a_round_trip(name, tmp_path):
    needed = ["tasks.path=data.json"] if name in ("gsm8k", "svamp") else []
    config = load_config(find_config(name), needed)
    assert config.name == name
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert load_config(copy) == config


def test_the_presets_that_are_written_about_are_there():
    assert {"demo", "gsm8k", "smollm2", "spark", "spark-paper", "svamp"} <= set(preset_names())


def test_find_config_takes_a_file_or_a_preset(write):
    path = write("steps: 1")
    assert find_config(str(path)) == path
    assert find_config("demo").name == "demo.yaml"
    with pytest.raises(UserError) as caught:
        find_config("dmeo")
    assert "Did you mean demo?" in str(caught.value)
    assert "gsm8k" in caught.value.remedy


def test_unknown_key_names_line_and_nearest_key(write):
    path = write("steps: 3\nlearner:\n  learning_rat: 1\n")
    text = message(path)
    assert f"{path}:3: learner.learning_rat: unknown key" in text
    assert "learning_rate" in text


@pytest.mark.parametrize(
    ("yaml", "hint"),
    [
        ("ranks: 2", "Did you mean learner.ranks?"),
        ("learner.ranks: 2", "write ranks below learner"),
        ("learner: {weights: {slve: 1}}", "Did you mean solve?"),
        ("xyzzy: 2", "Valid keys here: name, runs_dir"),
        ("tempratur: 2", "Did you mean sampling.temperature?"),
    ],
)
def test_hints_for_unknown_keys(write, yaml, hint):
    text = message(write(yaml))
    assert "unknown key" in text
    assert hint in text


@pytest.mark.parametrize(
    ("yaml", "what"),
    [
        ("steps: many", 'steps: must be a whole number, not "many"'),
        ("steps: '5'", 'steps: must be a whole number, not "5"'),
        ("steps: true", "steps: must be a whole number, not true"),
        ("steps: 1.5", "steps: must be a whole number, not 1.5"),
        ("steps: 0", "steps: must be at least 1, not 0"),
        ("steps:", "steps: must be a whole number, not empty"),
        ("name: 5", "name: must be text, not 5\n  Put it in quotes."),
        ("name: a b", "name: must match"),
        ("learner: {learning_rate: fast}", 'learner.learning_rate: must be a number, not "fast"'),
        ("learner: {learning_rate: 0}", "learner.learning_rate: must be above 0, not 0"),
        ("learner: {betas: 3}", "learner.betas: must be a list, not 3"),
        ("learner: 3", "learner: must be a section (key: value), not 3"),
        ("recycle: {enabled: yes}", 'recycle.enabled: must be true or false, not "yes"'),
        ("recycle: {reasoning_share: 2}", "recycle.reasoning_share: must be at most 1, not 2"),
        ("deadlines: {start: .inf}", "deadlines.start: must be a finite number"),
        ("schedule: mergd", "must be 'merged' or 'sequential', not \"mergd\""),
        ("schedule: mergd", "Did you mean merged?"),
    ],
)
def test_wrong_types_in_plain_words(write, yaml, what):
    path = write(yaml)
    text = message(path)
    assert what in text
    assert text.startswith(f"{path}:1: ")


@pytest.mark.parametrize(
    ("yaml", "line", "what"),
    [
        ("seed: 1\ntasks:\n  low: 50\n  high: 3", 3, "tasks.low (50) must be below"),
        ("seed: 1\nsampling:\n  max_tokens: 500", 3, "leaves no room for a prompt"),
        ("seed: 1\nsampling:\n  top_p: 0.9", 3, "sampling.top_p must be 1"),
        ("seed: 1\ntasks:\n  source: gsm8k", 2, "tasks.path is needed"),
        ("recycle:\n  style: worked", 2, "recycle.style must be 'terse'"),
    ],
)
def test_impossible_combinations_name_a_line(write, yaml, line, what):
    path = write(yaml)
    text = message(path)
    assert text.startswith(f"{path}:{line}: ")
    assert what in text


def test_all_problems_are_reported_together(write):
    path = write("stps: 3\nlearner:\n  ranks: two\n")
    text = message(path, "seed=x", "nonsense", "learner.betas=[1", "generators.count=0")
    assert text.startswith("6 problems in the configuration")
    for part in (
        f"{path}:1: stps: unknown key",
        f"{path}:3: learner.ranks: must be a whole number",
        "override seed=x: must be a whole number",
        "nonsense: an override must have the form key=value",
        "override learner.betas=[1: malformed YAML",
        "override generators.count=0: must be at least 1",
    ):
        assert part in text


def test_an_override_is_blamed_for_what_it_replaced(write):
    text = message(write("steps: 3\n"), "steps=0")
    assert text.startswith("override steps=0: must be at least 1")


def test_missing_file_and_malformed_file(write, tmp_path):
    assert "no such file" in message(tmp_path / "none.yaml")
    path = write("a: [1\nb: 2\n")
    assert message(path).startswith(f"{path}:2: malformed YAML")


def test_the_port_of_metrics_has_a_former_name(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("metrics_port: 9464\n")
    assert load_config(file).metrics.port == 9464
    assert load_config(file, ["metrics.port=9465"]).metrics.port == 9465
    assert load_config(None, ["metrics_port=9466"]).metrics.port == 9466
    with pytest.raises(UserError, match=r"run\.yaml:1: metrics\.port"):
        file.write_text("metrics_port: -1\n")
        load_config(file)
