"""A Hugging Face folder of the learner's weights, which transformers and vLLM load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from learner.weights import LearnerWeights

SHARD_BYTES = 4 << 30
TOKENIZER_FILES = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "chat_template*", "*.model", "generation_config.json", "preprocessor_config.json",
)  # fmt: skip


def export_folder(
    weights: LearnerWeights,
    model: Any,
    source: Path,
    folder: Path,
    *,
    writer: bool,
    card: str = "",
) -> None:
    """Write a folder that transformers and vLLM load. Collective; one rank writes.

    Args:
        weights: iterated on every rank.
        model: its configuration is written with the exported type.
        source: folder the tokenizer's files are copied from.
        folder: made if missing; weight files in it are overwritten.
        writer: whether this rank writes.
        card: text of README.md, how the model was made; empty: none.
    """
    shards = _Shards(folder)
    failure: OSError | SafetensorError | None = None
    for name, tensor in weights:
        # After a failure the loop goes on: the other ranks wait for this one to gather.
        if writer and failure is None:
            try:
                shards.add(name, tensor.detach().contiguous().cpu())
            except (OSError, SafetensorError) as error:
                failure = error
    if failure is not None:
        raise failure
    if writer:
        shards.finish()
        _write_config(model, weights, source, folder)
        if card:
            (folder / "README.md").write_text(card)


class _Shards:
    """Weight files of a Hugging Face folder, none much beyond ``SHARD_BYTES``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: dict[str, str] = {}
        self._shard: dict[str, Tensor] = {}
        self._size = self._total = self._number = 0

    def add(self, name: str, tensor: Tensor) -> None:
        """Take a weight; write a shard when it is full."""
        extra = tensor.numel() * tensor.element_size()
        if self._shard and self._size + extra > SHARD_BYTES:
            self._write(self._next_name())
        self._shard[name] = tensor
        self._size, self._total = self._size + extra, self._total + extra

    def finish(self) -> None:
        """Write what is left, and the index where there are several files.

        Weights of an earlier export that are not of this one are removed: a loader that found
        both would take the wrong ones.
        """
        single = self._number == 0
        self._write("model.safetensors" if single else self._next_name())
        written = set(self._index.values())
        for file in self._folder.glob("model*.safetensors"):
            if file.name not in written:
                file.unlink()
        index = self._folder / "model.safetensors.index.json"
        index.unlink(missing_ok=True)
        if not single:
            body = {"metadata": {"total_size": self._total}, "weight_map": self._index}
            index.write_text(json.dumps(body, indent=1))

    def _next_name(self) -> str:
        return f"model-{self._number + 1:05d}.safetensors"

    def _write(self, name: str) -> None:
        from safetensors.torch import save_file

        self._folder.mkdir(parents=True, exist_ok=True)
        save_file(self._shard, self._folder / name, metadata={"format": "pt"})
        self._index.update(dict.fromkeys(self._shard, name))
        self._shard, self._size, self._number = {}, 0, self._number + 1


def _write_config(model: Any, weights: LearnerWeights, source: Path, folder: Path) -> None:
    config = model.config.__class__.from_dict(model.config.to_dict())
    config.dtype = weights.metadata()[0].dtype
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    if source.resolve() == folder.resolve():
        return
    for pattern in TOKENIZER_FILES:
        for file in sorted(source.glob(pattern)):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
