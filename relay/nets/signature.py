"""What a net of monai takes, read from its source: importing monai would take seconds."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from relay.errors import UserError, nearest

PACKAGE = "networks/nets"
SCALARS: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
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


def names() -> list[str]:
    """The nets of monai, sorted, each by one of its names."""
    kinds = ast.ClassDef | ast.FunctionDef
    return sorted(name for name, module in _index().items() if isinstance(_nodes(module).get(name), kinds))


@cache
def signature(name: str) -> Mapping[str, Parameter]:
    """The parameters of a net of monai, without ``self``; those that it passes on to its base class included.

    Raises:
        UserError: monai has no such net.
    """
    module = _index().get(name)
    if module is None or (found := _of(module, name)) is None:
        near = nearest(name, names())
        raise UserError(
            f"monai has no net '{name}'",
            (f"Did you mean 'monai:{near}'? " if near else "") + "Its nets: monai.networks.nets in monai's manual.",
        )
    return found


def _of(module: str, name: str) -> dict[str, Parameter] | None:
    """The parameters of a class or a function; None if there is neither."""
    nodes = _nodes(module)
    node = nodes.get(name)
    if isinstance(node, ast.Name):  # another name of the same class
        return _of(module, node.id)
    if isinstance(node, ast.FunctionDef):
        made = node.returns
        return _with_base(_parameters(node), [made] if made else [], module) if node.args.kwarg else _parameters(node)
    if not isinstance(node, ast.ClassDef):
        return None
    own = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if own is None:
        return _with_base({}, node.bases, module)
    found = _parameters(own)
    return _with_base(found, node.bases, module) if own.args.kwarg else found


def _with_base(own: dict[str, Parameter], bases: list[ast.expr], module: str) -> dict[str, Parameter]:
    """``own``, and what the first base that is a net takes. What that base must be given and ``own`` lacks, the class
    gives itself, unless it is about the images."""
    for base in bases:
        name = ast.unparse(base)
        theirs = _of(_index().get(name, module), name)
        if theirs is not None:
            passed = {k: p for k, p in theirs.items() if not p.required or k in ("spatial_dims", "in_channels")}
            return passed | own
    return own


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


@cache
def _index() -> dict[str, str]:
    """The file of each name that ``monai.networks.nets`` offers, without ``.py``."""
    tree = ast.parse((_folder() / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module]
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


@cache
def _nodes(module: str) -> dict[str, ast.AST]:
    """What a file defines at its top: classes, functions, and other names for them."""
    tree = ast.parse((_folder() / f"{module}.py").read_text(encoding="utf-8"))
    return dict(_defined(tree))


def _defined(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def _folder() -> Path:
    """monai's folder of nets, without importing monai."""
    spec = find_spec("monai")
    if spec is None or spec.origin is None:
        raise UserError("monai is not installed", "Install it: pip install monai")
    return Path(spec.origin).parent / PACKAGE
