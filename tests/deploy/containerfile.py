"""What is in deploy/image/Containerfile, stage by stage."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "deploy" / "image"


@dataclass(frozen=True)
class Copy:
    """A COPY: from where in which stage (empty: the build context) to what absolute path."""

    sources: tuple[str, ...]
    target: PurePosixPath
    origin: str

    def targets(self) -> list[tuple[str, PurePosixPath]]:
        """Each source with where it ends up."""
        if len(self.sources) == 1:
            return [(self.sources[0], self.target)]
        return [(each, self.target / PurePosixPath(each).name) for each in self.sources]


@dataclass
class Stage:
    """A stage: what it starts from, and its instructions in order."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]

    @property
    def commands(self) -> list[str]:
        """The commands of all RUN steps, one by one, on one line each."""
        lines = [re.split(r"\s*&&\s*", value) for value in self.values("RUN")]
        return [re.sub(r"\s+", " ", command).strip() for line in lines for command in line]

    @property
    def apt(self) -> set[str]:
        """Packages of the system that are installed."""
        found: set[str] = set()
        for command in self.commands:
            if command.startswith("apt-get install"):
                found |= {word for word in command.split()[2:] if not word.startswith("-")}
        return found

    @property
    def copies(self) -> list[Copy]:
        folder, found = PurePosixPath("/"), []
        for name, value in self.steps:
            if name == "WORKDIR":
                folder /= value
            elif name == "COPY":
                *sources, target = value.split()
                origin = ""
                if sources[0].startswith("--from="):
                    origin = sources.pop(0).partition("=")[2]
                found.append(Copy(tuple(sources), folder / target, origin))
        return found

    @property
    def environment(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for value in self.values("ENV"):
            found |= dict(pair.split("=", 1) for pair in shlex.split(value))
        return found

    def words(self, instruction: str) -> list[str]:
        """The last value of an instruction in exec form."""
        return list(json.loads(self.values(instruction)[-1]))


def stages() -> dict[str, Stage]:
    """The stages by name; the last, which is the image, is `image`."""
    with (IMAGE / "Containerfile").open("rb") as file:
        structure = DockerfileParser(fileobj=file).structure
    found: list[Stage] = []
    for step in structure:
        name, value = step["instruction"], step["value"]
        if name == "FROM":
            base, _, alias = value.partition(" AS ")
            found.append(Stage(alias or "image", base))
        elif found and name != "COMMENT":
            found[-1].steps.append((name, value))
    return {stage.name: stage for stage in found}
