"""What the classes of a library take, read from its source: importing monai would take seconds."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from relay.errors import UserError, nearest

SCALARS: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
DEFINED = re.compile(r"^(?:class|def) ([A-Za-z]\w*)", re.MULTILINE)
UNKNOWN = object()
"""The default of a parameter that must be given."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: its default (:data:`UNKNOWN` if it must be given; source text where it is no plain value), and
    its type, ``Any`` unless it is one of :data:`SCALARS`."""

    default: Any
    kind: Any = Any

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is UNKNOWN


@dataclass(frozen=True)
class Library:
    """A package whose classes may be named in a config.

    Attributes:
        package: its dotted name, ``monai.networks.nets``.
        what: what its classes are, ``net``.
        passed: parameters that a class hands on to its base class though it does not list them, where the base has to
            be given them. Others that the base must be given come from the class itself.
    """

    package: str
    what: str
    passed: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Its classes and functions, sorted, each by one of its names."""
        kinds = ast.ClassDef | ast.FunctionDef
        return sorted(name for name, file in self._index().items() if isinstance(_nodes(file).get(name), kinds))

    def module(self, name: str) -> str:
        """The file that has a class, such as ``dictionary`` in the folder ``spatial``: ``spatial/dictionary``.

        Raises:
            UserError: there is no such class.
        """
        if (file := self._index().get(name)) is None:
            raise self._missing(name)
        return file.relative_to(_folder(self.package)).with_suffix("").as_posix()

    def signature(self, name: str) -> Mapping[str, Parameter]:
        """The parameters of a class, without ``self``; those that it passes on to its base class included.

        Raises:
            UserError: there is no such class.
        """
        file = self._index().get(name)
        if file is None or (found := self._of(file, name)) is None:
            raise self._missing(name)
        return found

    def _missing(self, name: str) -> UserError:
        library, near = self.package.partition(".")[0], nearest(name, self.names())
        advice = f"Did you mean '{library}:{near}'? " if near else ""
        return UserError(
            f"{library} has no {self.what} '{name}'", f"{advice}See {self.package} in the manual of {library}."
        )

    def _of(self, file: Path, name: str) -> dict[str, Parameter] | None:
        """The parameters of a class or a function; None if there is neither."""
        node = _nodes(file).get(name)
        if isinstance(node, ast.Name):  # another name of the same class
            return self._of(file, node.id)
        if isinstance(node, ast.FunctionDef):
            made = [node.returns] if node.returns and node.args.kwarg else []
            return self._with_base(_parameters(node), made, file)
        if not isinstance(node, ast.ClassDef):
            return None
        own = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
        if own is None:
            return self._with_base({}, node.bases, file)
        return self._with_base(_parameters(own), node.bases if own.args.kwarg else [], file)

    def _with_base(self, own: dict[str, Parameter], bases: Iterable[ast.expr], file: Path) -> dict[str, Parameter]:
        """``own``, and what the first base that is in the library takes."""
        for base in bases:
            name = ast.unparse(base).rpartition(".")[2]
            theirs = self._of(self._index().get(name, file), name)
            if theirs is not None:
                return {k: p for k, p in theirs.items() if not p.required or k in self.passed} | own
        return own

    def _index(self) -> dict[str, Path]:
        return _index(self.package)


@cache
def _index(package: str) -> dict[str, Path]:
    """The file of each name that a package offers, by the imports of its ``__init__``."""
    found: dict[str, Path] = {}
    folder = _folder(package)
    for node in ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and (node.level == 1 or node.module.startswith(package)):
            inside = node.module if node.level else node.module.removeprefix(package).lstrip(".")
            file = folder.joinpath(*inside.split(".")).with_suffix(".py")
            if file.is_file():
                every = node.names[0].name == "*"  # then a file's text is searched: parsing all would take a second
                names = DEFINED.findall(file.read_text(encoding="utf-8")) if every else [a.name for a in node.names]
                found |= dict.fromkeys(names, file)
    return found


@cache
def _nodes(file: Path) -> dict[str, ast.AST]:
    """What a file defines at its top: classes, functions, and other names for them."""
    return dict(_defined(ast.parse(file.read_text(encoding="utf-8"))))


def _defined(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def _folder(package: str) -> Path:
    """A package's folder, without importing it."""
    top, *below = package.split(".")
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        raise UserError(f"{top} is not installed", f"Install it: pip install {top}")
    return Path(spec.origin).parent.joinpath(*below)


def _parameters(function: ast.FunctionDef) -> dict[str, Parameter]:
    args = function.args
    first = [*args.posonlyargs, *args.args]
    missing: list[ast.expr | None] = [None] * (len(first) - len(args.defaults))
    pairs = [*zip(first, [*missing, *args.defaults], strict=True), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return {arg.arg: Parameter(_default(default), _kind(arg.annotation)) for arg, default in pairs if arg.arg != "self"}


def _default(node: ast.expr | None) -> Any:
    if node is None:
        return UNKNOWN
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
    return tuple(value) if isinstance(value, list) else value


def _kind(node: ast.expr | None) -> Any:
    said = ast.unparse(node) if node else ""
    plain = SCALARS.get(said.removesuffix(" | None"), Any)
    return plain | None if plain is not Any and said.endswith(" | None") else plain


def remade(find: Callable[[str], Any], name: str, options: Mapping[str, Any]) -> Any:
    """A plug-in whose class was made for a name of a library, for ``__reduce__``: another process makes it again.

    Args:
        find: makes the class of a name.
    """
    kind = find(name)
    return kind(kind.Options(**options))
