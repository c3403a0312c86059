"""What the learner asks of a model before training, and what it takes for rounding."""

import pytest
import torch

from contracts.errors import UserError
from learner.policy import Policy, inputs
from learner.probe import TOLERANCE, check_head

CPU = torch.device("cpu")


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.0])
def test_rounding_is_of_logits_which_a_temperature_divides(model, temperature):
    policy = Policy(model, temperature)
    allowed = TOLERANCE[torch.float64] / temperature

    def off_by(share: float):
        return lambda layout: policy(*inputs(layout))[0] + share * allowed

    check_head(model, off_by(0.9), CPU, temperature)
    with pytest.raises(UserError, match="output head"):
        check_head(model, off_by(1.1), CPU, temperature)
