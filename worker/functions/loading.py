"""Finds the functions that `tickertape worker MODULE[:ATTRIBUTE]` names."""

import importlib
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.pools import MOST_FUNCTIONS
from tickertape.worker.functions.definition import Function

_HOW = 'decorate an async generator with @tickertape.function("NAME")'
# The text of these errors has names of the program only. That of any other may quote a key.
_HARMLESS = (ImportError, NameError, SyntaxError, AttributeError)


def load_functions(target: str) -> list[Function]:
    """The functions of `package.module`, or those of an attribute: `package.module:attribute`.

    The attribute is a function, or has functions: a list, a dictionary or an object. The working
    folder is searched for the module first. Raises SettingsInvalid.
    """
    name, colon, path = target.partition(":")
    if not name or (colon and not path):
        raise SettingsInvalid(f"{target}: write package.module or package.module:attribute")
    sys.path.insert(0, str(Path.cwd()))
    found: object = _module(name)
    for attribute in path.split(".") if path else ():
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise SettingsInvalid(f"{name} has no {attribute!r}{_known(found)}") from None
    functions = list({id(each): each for each in _functions_in(found)}.values())
    if not functions:
        raise SettingsInvalid(f"{target} has no functions: {_HOW}")
    if len(functions) > MOST_FUNCTIONS:
        raise SettingsInvalid(
            f"{target} has {len(functions)} functions, more than the {MOST_FUNCTIONS} of a worker:"
            " name an attribute that has some of them"
        )
    _refuse_duplicates(target, functions)
    return functions


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, error) from None
        raise SettingsInvalid(
            f"there is no module {error.name}: run this command in the folder that has it, or set"
            " PYTHONPATH"
        ) from None
    # A module may end its import with any error, and SystemExit is one of them.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _failed(name, error) from None


def _failed(name: str, error: BaseException) -> SettingsInvalid:
    text = f": {error}" if isinstance(error, _HARMLESS) else ""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return SettingsInvalid(f"{name} cannot be imported: {type(error).__name__}{text}{where}")


def _functions_in(found: object) -> Iterator[Function]:
    held: Iterable[object]
    match found:
        case Function():
            held = (found,)
        case list() | tuple() | set() | frozenset():
            held = found
        case Mapping():
            held = found.values()
        case _:
            held = getattr(found, "__dict__", {}).values()
    return (each for each in held if isinstance(each, Function))


def _known(found: object) -> str:
    names = [n for n, each in getattr(found, "__dict__", {}).items() if isinstance(each, Function)]
    return f": it has the functions {', '.join(names)}" if names else f": {_HOW}"


def _refuse_duplicates(target: str, functions: list[Function]) -> None:
    names = [each.name for each in functions]
    for name in names:
        if names.count(name) > 1:
            raise SettingsInvalid(f"{target} has two functions named {name!r}: rename one of them")
