"""What is trained on at once: prompts chosen, answered, graded, and recycled into new prompts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from actors.recycler_actor import Recycler
from actors.refs import GroupRef
from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.types import Objective, Prompt
from recycler.recycle import solve_prompt
from services.clock import PhaseClock
from services.gate import Gate
from services.recycled import PromptsByStep
from services.rollouts import Rollouts
from services.seeds import derive_seed
from services.tasks.stream import StreamState, TaskStream


@dataclass(frozen=True)
class Batch:
    """Graded groups of one update.

    ``number``: from 1; training on it makes weight version ``number``. ``ends_step``: whether
    it is the last of ``step``. ``prompts``: of the groups, by id. ``recycled``: prompts made of
    it. ``tasks``, ``pending``: where the run stands after it. ``phases``: seconds.
    """

    number: int
    step: int
    ends_step: bool
    groups: list[GroupRef]
    prompts: dict[str, Prompt]
    recycled: list[Prompt]
    tasks: StreamState
    pending: tuple[Prompt, ...]
    phases: dict[str, float]


class BatchMaker:
    """Makes batches, one after the other. For one thread, but for ``give_back``.

    Args:
        config: the run.
        tasks: in the order of training.
        rollouts: answers and grades.
        recycler: makes judge and reflection prompts of graded groups.
        gate: kept while answers are sampled.
        recycled: prompts of another run, to be answered in place of own ones.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        tasks: TaskStream,
        rollouts: Rollouts,
        recycler: Recycler,
        gate: Gate,
        recycled: PromptsByStep | None = None,
    ) -> None:
        self.config = config
        self.tasks = tasks
        self.rollouts = rollouts
        self.recycler = recycler
        self.gate = gate
        self.recycled = recycled
        self.clock = PhaseClock()
        self.pending: list[Prompt] = []
        self._returned: deque[Prompt] = deque()

    def give_back(self, prompts: Iterable[Prompt]) -> None:
        """Have ``prompts`` answered anew, in a batch that is still to be made."""
        self._returned.extend(prompts)

    def make(self, number: int) -> Batch:
        """Batch ``number``: of the schedule ``merged`` a step, of ``sequential`` half of one."""
        if self.recycled is not None:
            return self.apart(number, self.recycled)
        if self.config.batches_per_step == 1:
            return self.merged(number, step=number)
        step = (number + 1) // 2
        return self.solving(number, step) if number % 2 else self.judging(number, step)

    def apart(self, number: int, recycled: PromptsByStep) -> Batch:
        """Answer what another run has recycled in its step ``number``.

        Raises:
            UserError: it did not have as many steps.
        """
        if number > max(recycled):
            raise UserError(
                f"its prompts end with step {max(recycled)}, and the budget does not",
                where=f"recycle.prompts_of ({self.config.recycle.prompts_of})",
                remedy="Give a smaller budget, or go on with that run.",
            )
        asked = [*recycled.get(number, []), *self.waiting()]
        judged = self.rollout(number, number, asked) if asked else []
        return self.batch(number, number, judged, asked, recycled=[])

    def merged(self, number: int, step: int) -> Batch:
        """Solve new tasks and answer the last step's judge prompts, in one batch."""
        solve = self.solve_prompts(step, self.config.tasks_per_step)
        prompts = solve + self.waiting()
        groups = self.rollout(number, step, prompts)
        solved = [g for g in groups if g.summary.objective is Objective.SOLVE]
        judged = [g for g in groups if g.summary.objective is not Objective.SOLVE]
        more, refill = self.refill(number, step, solved)
        recycled = self.recycle(step, solved + refill)
        groups = solved + refill + judged
        return self.batch(number, step, groups, prompts + more, recycled=recycled)

    def solving(self, number: int, step: int) -> Batch:
        """The first half of a step in the paper's order: solve."""
        prompts = self.solve_prompts(step, self.config.tasks_per_step) + self.waiting()
        solved = self.rollout(number, step, prompts)
        more, refill = self.refill(number, step, solved)
        recycled = self.recycle(step, solved + refill)
        groups = solved + refill
        return self.batch(number, step, groups, prompts + more, recycled=recycled)

    def judging(self, number: int, step: int) -> Batch:
        """The second half: judge, with the weights that solving was trained into."""
        prompts = self.waiting()
        judged = self.rollout(number, step, prompts) if prompts else []
        return self.batch(number, step, judged, prompts, recycled=[])

    def waiting(self) -> list[Prompt]:
        """Prompts that wait for this batch: recycled ones, and ones that were given back."""
        prompts, self.pending = self.pending, []
        while self._returned:
            prompts.append(self._returned.popleft())
        return prompts

    def batch(
        self,
        number: int,
        step: int,
        groups: Sequence[GroupRef],
        prompts: Sequence[Prompt],
        *,
        recycled: Sequence[Prompt],
    ) -> Batch:
        """The batch, with where the run stands after it."""
        return Batch(
            number=number,
            step=step,
            ends_step=number % self.config.batches_per_step == 0,
            groups=list(groups),
            prompts={prompt.id: prompt for prompt in prompts},
            recycled=list(recycled),
            tasks=self.tasks.state(),
            pending=tuple(self.pending),
            phases=self.clock.take(),
        )

    def refill(
        self, number: int, step: int, solved: Sequence[GroupRef]
    ) -> tuple[list[Prompt], list[GroupRef]]:
        """Further tasks in the place of groups without signal, as far as allowed."""
        wanted = self.config.tasks_per_step
        limit = int(self.config.sampling.refill * wanted)
        useful = sum(group.summary.has_signal for group in solved)
        prompts: list[Prompt] = []
        groups: list[GroupRef] = []
        while (count := min(wanted - useful, limit - len(solved) - len(groups))) > 0:
            more = self.solve_prompts(step, count, first=len(solved) + len(groups))
            found = self.rollout(number, step, more, len(groups))
            useful += sum(group.summary.has_signal for group in found)
            prompts += more
            groups += found
        return prompts, groups

    def solve_prompts(self, step: int, count: int, first: int = 0) -> list[Prompt]:
        """Prompts of the next tasks, numbered from ``first`` within the step.

        The step is part of the id: epochs repeat tasks.
        """
        tasks = self.tasks.take(count)
        prompts = [solve_prompt(task, self.config.recycle.style) for task in tasks]
        return [
            replace(prompt, id=f"{step}.{index}/{prompt.id}")
            for index, prompt in enumerate(prompts, first)
        ]

    def rollout(
        self, number: int, step: int, prompts: Sequence[Prompt], *again: int
    ) -> list[GroupRef]:
        """Sample and grade groups, in the order of ``prompts``.

        Args:
            number, step: of the batch.
            prompts: to answer.
            again: tells rollouts of the same batch apart; part of the seed.
        """
        with self.gate.held():
            return self.rollouts.sample(
                prompts,
                completions=self.config.sampling.completions,
                temperature=self.config.sampling.temperature,
                seed=derive_seed(self.config.seed, "generate", step, number - 1, *again),
                clock=self.clock,
            )

    def recycle(self, step: int, solved: Sequence[GroupRef]) -> list[Prompt]:
        """Judge and reflection prompts out of verified solve groups; they wait to be answered."""
        if not self.config.recycle.enabled:
            return []
        with self.clock.phase("recycle"):
            recycled = self.recycler.recycle(
                [group.ref for group in solved], derive_seed(self.config.seed, "recycle", step)
            )
        if self.config.recycle.answered:
            self.pending = recycled
        return recycled
