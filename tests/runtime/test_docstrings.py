"""Docstrings against signatures, for everything public in both packages.

A short docstring may mention parameters and errors in a sentence, but a section must be complete and correct.
"""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import leepfrog
import leepfrog_exporter
import pytest
from commands import Here
from docstrings import sections
from documents import furnish
from leepfrog import errors

Definition = ast.FunctionDef | ast.ClassDef

PACKAGES = [Path(str(package.__file__)).parent for package in (leepfrog, leepfrog_exporter)]
FILES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
OURS = {name for name, value in vars(errors).items() if isinstance(value, type)}
ERRORS = OURS | set(vars(builtins))

WITH_EXAMPLES = [path for path in FILES if ">>> " in path.read_text()]
FURNITURE = ("PHOTOS", ".onnx")
"""Examples that contain one of these need the folder that `furnish` fills; the others run anywhere."""


def public(tree: ast.Module | ast.ClassDef, above: str = "") -> Iterator[tuple[str, Definition]]:
    """Yield public functions, classes and their public methods, and each `__init__` with a docstring."""
    for node in tree.body:
        if not isinstance(node, Definition) or any(ast.unparse(each) == "overload" for each in node.decorator_list):
            continue
        if not node.name.startswith("_") or (node.name == "__init__" and ast.get_docstring(node)):
            yield f"{above}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{node.name}.")


def parameters(function: ast.FunctionDef, is_method: bool) -> list[str]:
    """Return the names of parameters, without `self` and `cls`."""
    taken = function.args
    static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)
    names = [argument.arg for argument in (*taken.posonlyargs, *taken.args)][is_method and not static :]
    names += [taken.vararg.arg] if taken.vararg else []
    names += [argument.arg for argument in taken.kwonlyargs]
    return names + ([taken.kwarg.arg] if taken.kwarg else [])


def attributes(node: ast.ClassDef) -> list[str]:
    """Return the public fields of a class, declared in its body or set by `__init__`."""
    declared = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    named = [each.target for each in declared if not ast.unparse(each.annotation).startswith("ClassVar")]
    for each in ast.walk(initializer(node) or ast.Module()):
        if isinstance(each, ast.Assign | ast.AnnAssign):
            for target in each.targets if isinstance(each, ast.Assign) else [each.target]:
                targets = target.elts if isinstance(target, ast.Tuple) else [target]
                named += [one for one in targets if isinstance(one, ast.Attribute)]  # others are local variables
    names = [
        each.id if isinstance(each, ast.Name) else each.attr
        for each in named
        if isinstance(each, ast.Name) or (isinstance(each, ast.Attribute) and ast.unparse(each.value) == "self")
    ]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def initializer(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)


def raised(function: ast.FunctionDef) -> set[str]:
    """Return leepfrog errors that the function itself raises.

    Excluded are nested functions, commands, whose docstring is their help, and gradient rules, which all raise
    ModelError (see `Rule`).
    """
    if any(ast.unparse(each).startswith("rule(") for each in function.decorator_list):
        return set()
    if "typer." in ast.unparse(function.args) or "Option" in ast.unparse(function.args):
        return set()
    inside: list[ast.AST] = [*function.body]
    found: set[str] = set()
    while inside:
        node = inside.pop()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func))
        if not isinstance(node, ast.FunctionDef):
            inside += ast.iter_child_nodes(node)
    return found & OURS


def faults(source: str) -> Iterator[str]:
    """Yield what is missing or wrong in the docstrings of a module."""
    for name, node in public(ast.parse(source)):
        docstring = ast.get_docstring(node)
        if docstring is None:
            yield f"{name} has no docstring"
            continue
        documented = sections(docstring)
        if isinstance(node, ast.ClassDef):
            init = initializer(node)
            wanted = {"Attributes": attributes(node), "Args": parameters(init, True) if init else []}
        else:
            wanted = {"Attributes": [], "Args": parameters(node, "." in name)}
            if {"Returns", "Yields"} & set(documented) and ast.unparse(node.returns or ast.Constant(None)) == "None":
                yield f"{name} returns None, but documents a return value"
            yield from (f"{name} raises {each}, undocumented" for each in sorted(raised(node)) if each not in docstring)
        for section, names in wanted.items():
            if section in documented and documented[section] != names:
                yield f"{name}: {section} lists {documented[section]}, expected {names}"
        yield from (
            f"{name} documents {each}, which is not an error"
            for each in documented.get("Raises", [])
            if each not in ERRORS
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_docstrings_are_true(path: Path) -> None:
    assert list(faults(path.read_text())) == []


def examples(path: Path) -> list[doctest.DocTest]:
    """Return the examples of a module, one item per docstring that has some."""
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    parts = path.relative_to(package.parent).with_suffix("").parts
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    return [found for found in doctest.DocTestFinder().find(module) if found.examples]


def in_folder(found: doctest.DocTest) -> bool:
    """Return whether an example reads files of the folder that `furnish` fills."""
    return any(name in example.source for example in found.examples for name in FURNITURE)


def failures(found: doctest.DocTest) -> str:
    """Run an example and return the report of its failures, or "" if there are none."""
    report: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(found, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(path: Path) -> None:
    found = examples(path)
    assert found
    assert [report for each in found if not in_folder(each) and (report := failures(each))] == []


@pytest.mark.full
def test_examples_that_read_files_run(here: Here, home: Path) -> None:
    furnish(here.folder, home)
    found = [each for path in WITH_EXAMPLES for each in examples(path) if in_folder(each)]
    assert found
    assert [report for each in found if (report := failures(each))] == []


def test_every_public_function_has_an_example() -> None:
    public = [getattr(module, name) for module in (leepfrog, leepfrog.scores) for name in module.__all__]
    functions = [value for value in public if inspect.isfunction(value)]
    assert functions
    assert [value.__name__ for value in functions if ">>> " not in (value.__doc__ or "")] == []


UNTRUE = '''
def bare(): pass

def swapped(a, b, *, c=1):
    """Swap.

    Args:
        b: one.
        a, c: the others.

    Raises:
        NoSuchError: never.
    """

def empty(a) -> None:
    """Nothing.

    Returns:
        Something.
    """
    raise UsageError("a")

class Fields:
    """A class.

    Attributes:
        x: one.
    """
    x: int
    y: int

    def method(self, a):
        """Do.

        Args:
            self: itself.
            a: one.
        """
'''


def test_what_is_untrue_is_found() -> None:
    assert list(faults(UNTRUE)) == [
        "bare has no docstring",
        "swapped: Args lists ['b', 'a', 'c'], expected ['a', 'b', 'c']",
        "swapped documents NoSuchError, which is not an error",
        "empty returns None, but documents a return value",
        "empty raises UsageError, undocumented",
        "Fields: Attributes lists ['x'], expected ['x', 'y']",
        "Fields.method: Args lists ['self', 'a'], expected ['a']",
    ]
