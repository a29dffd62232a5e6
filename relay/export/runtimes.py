"""Other programs that run an exported model: what they say is compared, too, where they are installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from relay.export import standalone


def installed(folder: Path, said: dict[str, Any], net: standalone.Net) -> dict[str, standalone.Net]:
    """Every runtime here that can run an export, by its name.

    Args:
        said: the content of ``model.json`` in this folder.
        net: as the export's own script runs it.
    """
    file = folder / said["model"]["file"]
    if file.suffix != ".onnx":
        return {"torch": net}
    found = {"onnxruntime": net}
    if find_spec("openvino") is not None:
        found["OpenVINO"] = standalone.fitted(_openvino(file), said["input"])
    return found


def _openvino(file: Path) -> standalone.Net:
    """OpenVINO on the CPU, in single precision: by default it takes half of it where the processor can."""
    made = import_module("openvino").Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(x: standalone.Array) -> tuple[standalone.Array, standalone.Array]:
        said = made([x])
        logits, answer = (said[output] for output in made.outputs)
        return logits, answer

    return run
