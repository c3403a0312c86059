"""The verifier as a Ray actor: generations in, graded groups out."""

from __future__ import annotations

import logging
from pathlib import Path

from actors.graders.processes import GraderProcesses
from actors.graders.registry import settle
from actors.logs import redirect_output
from actors.place import sign_of_life
from contracts.types import Generation, Group, GroupSummary
from recycler.outcomes import PLAIN, ReflectionRewards, reward_reflection


class Verifier:
    """Grades groups; ``verifier_pool`` makes it a Ray actor.

    Several calls run at once, so that one slow group does not hold up the others.
    Grading has no state, so an actor that dies is started again and its groups graded anew.

    Args:
        workers: grader processes of this actor.
        deadline: seconds of processor time a grader may take for one completion.
        log: file for the actor's output.
        rewards: of reflections, by what they did with the answer they were shown.
    """

    def __init__(
        self, workers: int, deadline: float, log: Path, rewards: ReflectionRewards = PLAIN
    ) -> None:
        redirect_output(log)
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
        )
        self._processes = GraderProcesses(workers=workers, deadline=deadline)
        self._rewards = rewards

    @sign_of_life
    def ping(self) -> None:
        """A sign of life, also while groups are being graded."""

    def grade(self, generation: Generation) -> tuple[Group, GroupSummary]:
        """The group that ``generation`` becomes, and its summary, as two objects.

        Raises:
            UserError: the prompt names a grader that does not exist.
        """
        group = grade_generation(generation, self._processes, self._rewards)
        return group, GroupSummary.of(group)

    def stop(self) -> None:
        """End the grader processes."""
        self._processes.close()


def grade_generation(
    generation: Generation, processes: GraderProcesses, rewards: ReflectionRewards = PLAIN
) -> Group:
    """Grade all completions of one prompt; those of a reflection earn what ``rewards`` say."""
    prompt = generation.prompt
    grades = processes.grade(
        prompt.verifier, prompt.label, [completion.text for completion in generation.completions]
    )
    return Group(
        prompt=prompt,
        prompt_tokens=generation.prompt_tokens,
        completions=generation.completions,
        grades=tuple(
            reward_reflection(prompt, settle(grade, completion), rewards)
            for grade, completion in zip(grades, generation.completions, strict=True)
        ),
    )
