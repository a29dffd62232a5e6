"""The three forms of an export: a folder with an ONNX model, with a ``.pt2`` of torch, or a MONAI bundle."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch

from relay.bundle import measure
from relay.errors import RelayError, UserError, first_line
from relay.export import bundle
from relay.export.graph import Exported

log = logging.getLogger(__name__)
Form = Literal["onnx", "pt2", "monai"]
OPSET = 18
"""Of ONNX: the oldest that torch's exporter writes, so that as many programs as possible can read it."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
HERE = Path(__file__).parent
SCRIPT, ABOUT, SAID = "predict.py", "README.md", "model.json"


def check_packages(form: Form) -> None:
    """Check, before any work, that what a form needs is installed.

    Raises:
        UserError: a package is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None] if form == "onnx" else []
    if missing:
        raise UserError(
            f"ONNX needs packages that are not installed: {', '.join(missing)}",
            "Install them as relay was installed: pip install 'relay-learning[export]'. Or choose --to pt2.",
        )


def write(form: Form, graph: Exported, said: dict[str, Any], folder: Path) -> None:
    """Write an export into an empty folder: the model, ``model.json``, and how to use them.

    Raises:
        RelayError: the model can't be written in this form.
    """
    WRITERS[form](graph, said, folder)


def _onnx(graph: Exported, said: dict[str, Any], folder: Path) -> None:
    """``model.onnx``, checked by onnx."""
    import onnx

    path = folder / "model.onnx"
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # no torchvision: known
    names = {"input_names": ["image"], "output_names": said["output"]["names"]}
    try:
        made = torch.onnx.export(graph.program, dynamo=True, opset_version=OPSET, verbose=False, **names)
        assert made is not None
        for key in ("study", "weights", "config", "relay"):
            made.model.metadata_props[f"relay.{key}"] = said["lineage"][key]
        made.save(str(path))
        onnx.checker.check_model(str(path), full_check=True)
        opsets = {each.domain: each.version for each in onnx.load(str(path), load_external_data=False).opset_import}
    except Exception as error:  # torch, onnxscript and onnx refuse with errors of any kind
        log.info("no ONNX: %s", error, exc_info=True)
        why = first_line(error)
        raise RelayError(f"the net can't be written as ONNX: {why}", "Choose --to pt2 or --to monai.") from error
    _beside(folder, path, said, {"kind": "onnx", "opset": opsets.get("", OPSET)})


def _pt2(graph: Exported, said: dict[str, Any], folder: Path) -> None:
    """``model.pt2``."""
    path = folder / "model.pt2"
    torch.export.save(graph.program, str(path))
    _beside(folder, path, said, {"kind": "pt2"})


def _beside(folder: Path, model: Path, said: dict[str, Any], kind: Mapping[str, Any]) -> None:
    """The files that go with a model in one folder."""
    told = {**said, "model": {"file": model.name, **kind, "sha256": measure(model).sha256}}
    (folder / SAID).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (folder / SCRIPT).write_bytes((HERE / "standalone.py").read_bytes())
    (folder / ABOUT).write_bytes((HERE / ABOUT).read_bytes())


WRITERS: dict[Form, Callable[[Exported, dict[str, Any], Path], None]] = {
    "onnx": _onnx,
    "pt2": _pt2,
    "monai": bundle.write,
}


def told_in(form: Form, folder: Path) -> Path:
    """The folder with ``model.json``."""
    return folder / bundle.MODELS if form == "monai" else folder
