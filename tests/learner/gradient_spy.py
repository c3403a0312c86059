"""A real learner that shows the gradients its optimiser updates are made of."""

from deepspeed.utils import safe_get_full_grad

from learner.engine import Learner


class GradientSpy(Learner):
    """Keeps the gradients that each optimiser update is made of, by name."""

    def __init__(self, *args, **more):
        self.gradients = []
        super().__init__(*args, **more)

    def _step(self, rate):
        self.gradients.append({n: safe_get_full_grad(p).clone() for n, p in self._weights.named})
        return super()._step(rate)
