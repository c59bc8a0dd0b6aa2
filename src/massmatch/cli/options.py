"""Options of a command that are made from the fields of a class of options: a field is an option, and stands once."""

import inspect
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from annotated_doc import Doc
from annotated_types import Ge

Command = Callable[..., None]


def options_of(*classes: type, leave_out: tuple[str, ...] = (), last: bool = False) -> Callable[[Command], Command]:
    """A decorator that puts an option for each field of the classes in the place of the command's `**options`.

    They come behind the command's arguments, and before its own options unless `last`. An option that the command has
    itself, or that is in `leave_out`, is not made from a field.
    """

    def decorated(command: Command) -> Command:
        own = [each for each in parameters_of(command) if each.kind is not each.VAR_KEYWORD]
        there = {*leave_out, *(each.name for each in own)}
        made = [option(each, name, hint) for each in classes for name, hint in fields_of(each) if name not in there]
        before = own if last else [each for each in own if each.default is each.empty]
        ordered = [*before, *made, *(each for each in own if each not in before)]
        keyword_only = [each.replace(kind=each.KEYWORD_ONLY) for each in ordered]
        command.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
        return command

    return decorated


def given(context: typer.Context, names: dict[str, Any]) -> dict[str, Any]:
    """The options that stand on the command line: the others are left to the defaults of whatever is made of them."""
    asked = {name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}
    return {name: value for name, value in names.items() if name in asked}


def parameters_of(command: Command) -> list[inspect.Parameter]:
    """The parameters of a command, with types in the place of their names."""
    return list(inspect.signature(command, eval_str=True).parameters.values())


def fields_of(options: type) -> list[tuple[str, Any]]:
    """The fields of a class of options with their annotations, in order."""
    return list(get_type_hints(options, include_extras=True).items())


def option(options: type, name: str, hint: Any) -> inspect.Parameter:
    """The parameter of a command that stands for a field, as typer reads it."""
    kind, *about = get_args(hint)
    help = next(each.documentation for each in about if isinstance(each, Doc))
    lowest = next((int(str(each.ge)) for each in about if isinstance(each, Ge)), None)
    default = getattr(options, name)
    as_asked = kind if is_simple(kind) else str
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default if as_asked is kind else text_of(default),
        annotation=Annotated[as_asked, typer.Option(help=help, min=lowest)],
    )


def is_simple(kind: Any) -> bool:
    """Whether typer knows the type: a number, a word, a switch, a choice of words, or one of these or nothing."""
    if get_origin(kind) in (Union, UnionType):
        inner = [each for each in get_args(kind) if each is not NoneType]
        return len(inner) == 1 and is_simple(inner[0])
    return get_origin(kind) is Literal or kind in (int, float, str, bool)


def text_of(value: Any) -> str:
    """A default as it is written on a command line."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
