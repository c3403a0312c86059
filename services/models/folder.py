"""Checks of a model folder that need no weights in memory: quick, before any actor starts."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from contracts.errors import UserError

_GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


def check_model_folder(
    folder: Path, *, max_context: int | None = None, trust_remote_code: bool = False
) -> None:
    """Refuse a folder that cannot be trained as a chat model. Reads small files only.

    Args:
        folder: a Hugging Face model folder.
        max_context: longest prompt plus completion, in tokens, that will be asked of it.
        trust_remote_code: whether Python code that comes with the folder may be run.

    Raises:
        UserError: the folder is missing, has no configuration, weights, tokenizer or chat
            template, holds no causal language model, brings code that is not trusted, or its
            context is shorter than ``max_context``.
    """
    if not folder.is_dir():
        raise UserError(
            f"there is no model folder {str(folder)!r}",
            where="model.name",
            remedy="give 'tiny', 'smollm2', or the path of a Hugging Face model folder; "
            "models are not downloaded",
        )
    config = _read_json(folder / "config.json", needed="a Hugging Face model folder has one")
    _check_architecture(folder, config)
    _check_code(folder, config, trust_remote_code)
    _check_weights(folder)
    _check_tokenizer(folder)
    if max_context is not None:
        _check_context(folder, config, max_context)


def count_parameters(folder: Path) -> int:
    """Parameters in the folder's safetensors files, tied ones once; 0 if it has none.

    Reads the files' headers only.
    """
    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        total += sum(
            math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"
        )
    return total


def _read_json(path: Path, *, needed: str) -> dict[str, Any]:
    """A JSON object of the folder, or a message that names the file."""
    if not path.is_file():
        raise UserError(
            f"the model folder has no {path.name}",
            where=str(path.parent),
            remedy=f"{needed}; save the model with save_pretrained()",
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"is not readable as JSON ({error})", where=str(path), remedy="copy the model again"
        ) from error
    if not isinstance(content, dict):
        raise UserError("holds no JSON object", where=str(path), remedy="copy the model again")
    return content


def _check_architecture(folder: Path, config: dict[str, Any]) -> None:
    architectures = config.get("architectures") or []
    if any(str(name).endswith(_GENERATES) for name in architectures):
        return
    found = ", ".join(map(str, architectures)) or "none"
    raise UserError(
        f"this is not a causal language model (architectures: {found})",
        where=str(folder / "config.json"),
        remedy="use a model that generates text, such as one ending in ForCausalLM",
    )


def _check_code(folder: Path, config: dict[str, Any], trusted: bool) -> None:
    if "auto_map" in config and not trusted:
        raise UserError(
            "the model brings Python code of its own, which is not run unless you say so",
            where=str(folder / "config.json"),
            remedy="read the code, then set model.trust_remote_code=true",
        )


def _check_weights(folder: Path) -> None:
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        raise UserError(
            "the model folder has no weights",
            where=str(folder),
            remedy="copy its *.safetensors files, or save the model with save_pretrained()",
        )


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise UserError(
            "the model folder has no tokenizer",
            where=str(folder),
            remedy="save the model's tokenizer into it: tokenizer.save_pretrained(folder)",
        )
    if not _has_chat_template(folder):
        raise UserError(
            "the model's tokenizer has no chat template",
            where=str(folder),
            remedy="use an instruction-tuned model, or write its template to chat_template.jinja",
        )


def _has_chat_template(folder: Path) -> bool:
    names = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
    if any((folder / name).exists() for name in names):
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(_read_json(path, needed="").get("chat_template"))


def _check_context(folder: Path, config: dict[str, Any], max_context: int) -> None:
    text = {**config, **(config.get("text_config") or {})}
    context = next(
        (text[name] for name in _CONTEXT_FIELDS if isinstance(text.get(name), int)), None
    )
    if context is not None and context < max_context:
        raise UserError(
            f"the model's context of {context} tokens is shorter than "
            f"model.max_context ({max_context})",
            where=str(folder / "config.json"),
            remedy=f"set model.max_context={context} or less",
        )


def reads_images(folder: Path) -> bool:
    """Whether a model folder is, by its configuration, of a model that takes images."""
    config = _read_json(folder / "config.json", needed="a Hugging Face model folder has one")
    return any("vision" in key or "image" in key or "img" in key for key in config)
