"""A worker that can be told to damage its own weights."""

from __future__ import annotations

from actors.transfer.worker import WorkerExtension


class CorruptibleWorker(WorkerExtension):
    """Adds damage to what a generator's worker can do."""

    def corrupt(self, layer: str, by: float = 1e-3) -> None:
        """Change one element of what ``layer`` multiplies with."""
        model = self.model_runner.get_model()
        module = dict(model.named_modules())[layer]
        sound = module.cpu_linear

        def damaged(x, weight, bias):
            y = sound(x, weight, bias)
            y[..., 0] += by * x[..., 0]
            return y

        module.cpu_linear = damaged
