"""Models in float64, as the plain reference needs them."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from learner.policy import shares_prefixes, without_dropout


@pytest.fixture(scope="module")
def model(random_model_folder):
    loaded = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float64)
    assert shares_prefixes(loaded)
    return without_dropout(loaded)


@pytest.fixture(scope="module")
def frozen(random_model_folder):
    loaded = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float64)
    assert shares_prefixes(loaded)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return loaded.requires_grad_(False)
