"""Errors written for the person who reads them: what is wrong, where, what to do."""

from __future__ import annotations


class CoevolveError(Exception):
    """Base of every error this project raises on purpose."""


class UserError(CoevolveError):
    """Bad input. Shown as one message, without a traceback; the command exits with 2.

    Args:
        what: what is wrong, as a clause.
        where: file, line or field it was found in; empty if there is none.
        remedy: what the reader can do about it; empty if there is nothing.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        head = f"{where}: {what}" if where else what
        super().__init__(f"{head}\n  {remedy}" if remedy else head)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.remedy)


def _rebuild(kind: type[UserError], what: str, where: str, remedy: str) -> UserError:
    """Unpickle a UserError: its keyword-only fields do not fit the default protocol."""
    return kind(what, where=where, remedy=remedy)


class DeadlineError(CoevolveError):
    """A wait ran past its deadline.

    Args:
        waited_for: what did not come, with the actor or phase named.
        seconds: the deadline that passed.
    """

    def __init__(self, waited_for: str, seconds: float) -> None:
        self.waited_for, self.seconds = waited_for, seconds
        super().__init__(f"gave up after {seconds:g} s waiting for {waited_for}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.waited_for, self.seconds)


class IntegrityError(CoevolveError):
    """A truth of the system does not hold (weights differ, a version was skipped, ...)."""
