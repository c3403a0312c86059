"""What docs/security.md says of our code: it unpickles nothing, and runs no text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from contracts.config import RunConfig

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("contracts", "recycler", "learner", "actors", "services", "deploy")
FORBIDDEN_IMPORTS = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system"),
    *("np.load", "numpy.load", "pd.read_pickle"),
}


def faults(tree: ast.AST) -> Iterator[str]:
    """What a source does that it must not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]}
        else:
            names = set()
        for name in names & FORBIDDEN_IMPORTS:
            yield f"line {node.lineno}: imports {name}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        safe_yaml = called == "yaml.load" and _loader_is_safe(node)
        if called in FORBIDDEN_CALLS and not safe_yaml:
            yield f"line {node.lineno}: calls {called}"
        for keyword in node.keywords:
            if (
                keyword.arg in ("shell", "trust_remote_code")
                and ast.unparse(keyword.value) == "True"
            ):
                yield f"line {node.lineno}: {keyword.arg}=True"


def _loader_is_safe(call: ast.Call) -> bool:
    """Whether the loader given to ``yaml.load`` is our own, which is made of the safe one."""
    given = [*call.args[1:], *(k.value for k in call.keywords if k.arg == "Loader")]
    return [ast.unparse(each) for each in given] in (["_Loader"], ["yaml.SafeLoader"])


def sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def test_no_source_unpickles_or_runs_text():
    found = {
        f"{path.relative_to(ROOT)}, {fault}"
        for path in sources()
        for fault in faults(ast.parse(path.read_text()))
    }
    assert found == set()


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import torch\ntorch.load('x')",
        "eval('1 + 1')",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text, yaml.FullLoader)",
        "subprocess.run('ls', shell=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_is_for(text):
    assert list(faults(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    ["model.eval()", "yaml.load(text, Loader=yaml.SafeLoader)", "load(x, trust_remote_code=trust)"],
)
def test_the_search_lets_the_harmless_pass(text):
    assert not list(faults(ast.parse(text)))


def test_our_loader_of_yaml_is_made_of_the_safe_one():
    import yaml

    from contracts import yaml_lines

    assert issubclass(yaml_lines._Loader, yaml.SafeLoader)


def test_code_that_comes_with_models_is_off_by_default():
    assert RunConfig().model.trust_remote_code is False


def test_a_configuration_has_no_field_for_a_secret():
    def fields(model: type[BaseModel]) -> Iterator[str]:
        for name, info in model.model_fields.items():
            yield name
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                yield from fields(info.annotation)

    words = ("password", "secret", "api_key", "auth")
    found = [name for name in fields(RunConfig) if any(word in name for word in words)]
    assert found == []
    assert "learning_rate" in set(fields(RunConfig))
