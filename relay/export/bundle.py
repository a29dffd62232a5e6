"""An export as a MONAI bundle: https://docs.monai.io/en/stable/mb_specification.html

Its network is the ``.pt2``, so MONAI needs no code of relay; what is done to images is in ``scripts/``, since MONAI's
own transforms resize in another way than relay does, and a model says something else of an image that it was not
trained on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from relay.bundle import measure
from relay.errors import RelayError, first_line
from relay.export.graph import Exported

HERE = Path(__file__).parent
MODELS = "models"
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
NEEDED = (
    *("version", "changelog", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
    *("name", "task", "description", "authors", "copyright", "network_data_format"),
)
"""What MONAI's schema of metadata.json requires. The schema itself is on the network, where relay never looks."""


def write(graph: Exported, said: dict[str, Any], folder: Path) -> None:
    """Write a bundle into an empty folder, and let MONAI check it.

    Raises:
        RelayError: MONAI refuses it.
    """
    for name in ("configs", MODELS, "docs", "scripts"):
        (folder / name).mkdir()
    model = folder / MODELS / "model.pt2"
    torch.export.save(graph.program, str(model))
    told = {**said, "model": {"file": model.name, "kind": "pt2", "sha256": measure(model).sha256}}
    _json(folder / MODELS / "model.json", told)
    _json(folder / "configs/metadata.json", metadata(said))
    _json(folder / "configs/inference.json", inference(said))
    (folder / "docs/README.md").write_bytes((HERE / "README.md").read_bytes())
    (folder / "scripts/standalone.py").write_bytes((HERE / "standalone.py").read_bytes())
    (folder / "scripts/__init__.py").write_bytes((HERE / "monai_scripts.py").read_bytes())
    check(folder)


def metadata(said: dict[str, Any]) -> dict[str, Any]:
    """``metadata.json``."""
    lineage, takes = said["lineage"], said["input"]
    side = takes["size"] or [f"{takes['multiple']}*n" if takes["multiple"] > 1 else "*"] * takes["axes"]
    per_class = {str(k): name for k, name in enumerate(said["classes"])}
    image = {"type": "image", "format": "magnitude", "modality": "n/a", "num_channels": takes["channels"]}
    pred = {"type": "logits", "format": said["task"], "num_channels": len(said["classes"])}
    about = {"spatial_shape": side, "dtype": "float32", "is_patch_data": said["windows"] is not None}
    packages = {name: version(name) for name in ("pillow", "SimpleITK")}
    made = datetime.now(timezone.utc).date().isoformat()
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported by relay {lineage['relay']} on {made}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": packages,
        "name": f"{lineage['study']}, leg {lineage['leg']}",
        "task": said["task"],
        "description": f"The {lineage['model']} of leg {lineage['leg']} of {lineage['study']}, trained at "
        f"{lineage['site']} by relay learning. Weights {lineage['weights']}.",
        "authors": lineage["site"],
        "copyright": "see the study",
        "data_type": "image",
        "intended_use": "research only",
        "network_data_format": {
            "inputs": {"image": {**image, "value_range": takes["values"], **about, "channel_def": {"0": "image"}}},
            "outputs": {"pred": {**pred, "value_range": [], **about, "channel_def": per_class}},
        },
    }


def inference(said: dict[str, Any]) -> dict[str, Any]:
    """``inference.json``: images in ``dataset_dir`` to ``output_dir``."""
    window = said["windows"]
    sliding = window and {
        "_target_": "SlidingWindowInferer",
        "roi_size": window["size"],
        "sw_batch_size": 4 if said["input"]["batch"] else 1,
        "overlap": window["overlap"],
        "mode": window["weights"],
        "sigma_scale": window["sigma"],
    }
    return {
        "imports": ["$import scripts"],
        "bundle_root": ".",
        "dataset_dir": "images",
        "output_dir": "eval",
        "said": f"$scripts.said(@bundle_root + '/{MODELS}')",
        "network_def": {"_target_": "scripts.Network", "folder": f"$@bundle_root + '/{MODELS}'"},
        "network": "@network_def",
        "datalist": "$scripts.images(@dataset_dir, @said)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "scripts.Read", "said": "@said"},
                {"_target_": "scripts.Prepare", "said": "@said"},
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "inferer": sliding or {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "scripts.Save", "said": "@said", "output_dir": "@output_dir"},
        "run": ["$scripts.run(@dataset, @inferer, @network, @said, @postprocessing)"],
    }


def check(folder: Path) -> None:
    """Let MONAI check a bundle: that the keys of its metadata are there, and that the network, as its config builds it,
    takes and gives what the metadata say. MONAI's ``verify_metadata`` would fetch its schema from the network.

    Raises:
        RelayError: it does not hold.
    """
    from monai.bundle import verify_net_in_out

    said = json.loads((folder / MODELS / "model.json").read_text(encoding="utf-8"))["input"]
    about = json.loads((folder / "configs/metadata.json").read_text(encoding="utf-8"))
    try:
        if missing := [key for key in NEEDED if not about.get(key)]:
            raise ValueError(f"metadata.json lacks {', '.join(missing)}")
        with importable(folder), _quietly():
            verify_net_in_out(
                net_id="network_def",
                meta_file=str(folder / "configs/metadata.json"),
                config_file=str(folder / "configs/inference.json"),
                device="cpu",
                n=-(-max(said["least"]) // said["multiple"]),
                any=max(said["least"]),
                bundle_root=str(folder),
            )
    except Exception as error:  # MONAI refuses with errors of any kind
        why = first_line(error)
        raise RelayError(f"MONAI refuses the bundle: {why}", "Choose --to onnx or --to pt2.") from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """While this lasts, MONAI does not print what it is given."""
    printing = logging.getLogger("monai.bundle.scripts")
    before = printing.level
    printing.setLevel(logging.WARNING)
    try:
        yield
    finally:
        printing.setLevel(before)


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """While this lasts, ``scripts`` is that of the bundle, as when MONAI runs in its folder; it leaves no bytecode."""
    sys.path.insert(0, str(folder))
    writing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "scripts"}
    try:
        yield
    finally:
        sys.dont_write_bytecode = writing
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
            del sys.modules[name]
        sys.modules.update(before)


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
