"""Option groups: related options that a command receives as one object."""

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
    """Return a decorator that adds options to a command and passes them as one object to one of its parameters.

    Args:
        parameter: name of the command's keyword-only parameter for the object.
        options: annotation and default of each option, by name.
        made: factory of the object; called with the values of the options as keyword arguments.
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

        # Typer reads the signature and the annotations.
        del with_group.__wrapped__
        with_group.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_group.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_group

    return decorate
