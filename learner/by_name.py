"""Functions chosen in the configuration: built in, or the user's own."""

from __future__ import annotations

import importlib
from typing import Any

from contracts.errors import UserError


def named(name: str, built_in: dict[str, Any], *, field: str) -> Any:
    """Look ``name`` up in ``built_in``, or import it where it reads ``module:function``.

    Raises:
        UserError: unknown name, module or function; ``field`` says where it was given.
    """
    if name in built_in:
        return built_in[name]
    remedy = f"use one of {', '.join(sorted(built_in))}, or module:function of your own"
    module_name, colon, function = name.partition(":")
    if not colon:
        raise UserError(f"{name!r} is not known", where=field, remedy=remedy)
    try:
        found = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{name!r} cannot be imported: {error}", where=field, remedy=remedy
        ) from error
    if not callable(found):
        raise UserError(f"{name!r} is not a function", where=field, remedy=remedy)
    return found
