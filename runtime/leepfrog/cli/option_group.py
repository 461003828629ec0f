"""Options that belong together, and that a command gets as one object."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

Command = Callable[..., None]


def option_group(
    parameter: str, options: Mapping[str, tuple[Any, Any]], made: Callable[..., object]
) -> Callable[[Command], Command]:
    """Give a command further options, and hand what is made of their values to one of its parameters.

    Args:
        parameter: its keyword-only parameter that takes the object.
        options: annotation and default of each option, by name.
        made: is given the options' values by name, and returns the object.
    """

    def decorate(command: Command) -> Command:
        hints = typing.get_type_hints(command, include_extras=True)
        parameters = [
            given.replace(annotation=hints.get(name, given.annotation))
            for name, given in inspect.signature(command).parameters.items()
            if name != parameter
        ]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]

        @functools.wraps(command)
        def with_group(**given: Any) -> None:
            command(**{parameter: made(**{name: given.pop(name) for name in options})}, **given)

        # What Typer reads.
        del with_group.__wrapped__
        with_group.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_group.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_group

    return decorate
