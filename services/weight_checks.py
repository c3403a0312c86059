"""Do the engines compute with the learner's weights, and with nothing left of older ones?

Checksums compare what is stored; the probe compares what comes out, caches included.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.generator import Sampling
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from contracts.config import RunConfig
from contracts.errors import IntegrityError
from contracts.types import Prompt
from services.seeds import derive_seed

PROMPTS = 4
COMPLETIONS = 2
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.15}
"""Mean difference in nats that rounding explains: engine and learner order their sums otherwise."""


class WeightChecks:
    """Both checks of a run.

    Args:
        config: how often, and what is tolerated.
        generators, learner: what is compared.
        prompts: to probe with; always the same, so that what is cached of older weights is hit.
    """

    def __init__(
        self,
        config: RunConfig,
        generators: GeneratorPool,
        learner: LearnerGroup,
        prompts: Sequence[Prompt],
    ) -> None:
        self._config = config
        self._generators, self._learner = generators, learner
        self._prompts = prompts[:PROMPTS]

    def when_due(self, version: int) -> None:
        """Run the checks that are due at ``version``.

        Raises:
            IntegrityError: an engine differs; the message names it, and how.
        """
        transfer = self._config.transfer
        if transfer.checksum_every and version % transfer.checksum_every == 0:
            self.checksums(version)
        if transfer.probe_every and version % transfer.probe_every == 0:
            self.probe(version)

    def checksums(self, version: int) -> None:
        """Compare every engine's weights with the learner's export.

        Raises:
            IntegrityError: they differ; the message names engine and parameter.
        """
        expected = self._learner.checksums()
        for name, found in self._generators.checksums().items():
            wrong = sorted(name for name in expected if found.get(name) != expected[name])
            if wrong:
                raise IntegrityError(
                    f"{name} at version {version}: {len(wrong)} of {len(expected)} parameters "
                    f"differ from the learner's export, the first is {wrong[0]}"
                )

    def probe(self, version: int) -> None:
        """Compare log-probabilities of every engine with the learner's.

        Raises:
            IntegrityError: they are further apart than rounding explains.
        """
        config = self._config
        tolerance = config.transfer.probe_tolerance or TOLERANCE[config.model.dtype]
        sampling = Sampling(
            COMPLETIONS,
            config.sampling.max_tokens,
            config.sampling.temperature,
            derive_seed(config.seed, "probe", version),
        )
        for actor, generations in self._generators.sample_each(self._prompts, sampling):
            gap = self._learner.gap(generations)
            if not gap.mean <= tolerance:
                raise IntegrityError(
                    f"{actor.name} at version {version}: its log-probabilities are "
                    f"{gap.mean:.3g} nats from the learner's on average, {gap.largest:.3g} at "
                    f"most, over {gap.tokens} tokens (transfer.probe_tolerance {tolerance:g}): "
                    f"a stale cache, or damaged weights; see {actor.log}"
                )
