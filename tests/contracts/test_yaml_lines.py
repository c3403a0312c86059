"""YAML with line numbers."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import UserError
from contracts.yaml_lines import dump, parse_document, parse_value, read_document

# Line ends other than \n are no text of a configuration; PyYAML folds them.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.just("\n"))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner),
    max_leaves=8,
)


def test_every_key_and_item_has_its_line():
    document = parse_document("a: 1\n\n# comment\nb:\n  c: [1,\n    2]\n", "x")
    assert document.data == {"a": 1, "b": {"c": [1, 2]}}
    assert document.lines == {
        ("a",): 1,
        ("b",): 4,
        ("b", "c"): 5,
        ("b", "c", 0): 5,
        ("b", "c", 1): 6,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("on", "on"),
        ("no", "no"),
        ("True", True),
        ("1:30", "1:30"),
        ("2026-01-02", "2026-01-02"),
        ("", None),
        ("null", None),
        ("'1'", "1"),
        ("[0.9, 0.95]", [0.9, 0.95]),
        ("{a: 1}", {"a": 1}),
        ("+", "+"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    parsed = parse_value(text, "x")
    assert parsed == value
    assert type(parsed) is type(value)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, values))
def test_what_is_dumped_is_read_back(data):
    assert parse_document(dump(data), "x").data == data


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: [1\nc: 2\n", 3, "malformed YAML"),
        ("a: 1\n  b: 2\n", 2, "malformed YAML"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is given twice, first on line 1"),
        ("a: &x 1\nb: *x\n", 2, "aliases"),
        ("a: 1\nb: !!python/name:os.system x\n", 2, "tags"),
        ("a: 1\nb: \x01\n", 2, "not allowed"),
        ("a: 1\n---\nb: 1\n", 2, "malformed YAML"),
        ("? [a]\n: 1\n", 1, "a key must be text"),
        ("- a\n", 1, "must be a mapping"),
    ],
)
def test_malformed_text_names_the_line(text, line, what):
    with pytest.raises(UserError) as caught:
        parse_document(text, "file.yaml")
    assert caught.value.where == f"file.yaml:{line}"
    assert what in caught.value.what


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_document(tmp_path / "empty.yaml").data == {}


def test_files_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(UserError, match="no such file"):
        read_document(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match="not UTF-8"):
        read_document(tmp_path / "bytes.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_document(tmp_path)
