"""Messages to tokens and tokens to text: the one place where either is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from contracts.errors import UserError
from contracts.types import ImagePart, IntArray, Message, Prompt


class Chat:
    """The chat template and the tokenizer of a model folder.

    Args:
        model_folder: a Hugging Face model folder with tokenizer and chat template.
        trust_remote_code: run Python code that comes with the folder.

    Raises:
        UserError: the folder has no chat template.
    """

    def __init__(self, model_folder: Path, *, trust_remote_code: bool = False) -> None:
        self._tokenizer: Any = AutoTokenizer.from_pretrained(
            model_folder, trust_remote_code=trust_remote_code
        )
        if not self._tokenizer.chat_template:
            raise UserError(
                "the model's tokenizer has no chat template",
                where=str(model_folder),
                remedy="use an instruction-tuned model, or add chat_template.jinja to the folder",
            )

    def encode(self, prompt: Prompt) -> IntArray:
        """Token ids of a prompt, up to where the model is to go on. int32 [P]."""
        messages = [
            {"role": message.role, "content": _content(message)} for message in prompt.messages
        ]
        ids = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return np.asarray(ids, dtype=np.int32)

    def decode(self, tokens: Sequence[int] | IntArray) -> str:
        """Text of sampled tokens, special tokens left out. Nothing is cleaned up or stripped."""
        ids = [int(token) for token in tokens]
        return str(
            self._tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )


def images_of(prompt: Prompt) -> tuple[str, ...]:
    """Paths of a prompt's images, in the order they are shown."""
    return tuple(
        part.path
        for message in prompt.messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, ImagePart)
    )


def _content(message: Message) -> str | list[dict[str, str]]:
    """A message's content as chat templates want it."""
    if isinstance(message.content, str):
        return message.content
    return [
        {"type": "image"} if isinstance(part, ImagePart) else {"type": "text", "text": part.text}
        for part in message.content
    ]
