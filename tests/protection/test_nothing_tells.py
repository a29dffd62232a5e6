"""Names planted in headers, file names, folders and tables are in nothing that is written for others."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyrage
import pytest
import SimpleITK as sitk
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from relay.cli.app import app
from relay.exchange import StudyStore, receipt
from tests.dicoms import header, write
from tests.studies import given

PLANTED = "Plantagenet"
"""Part of every identifier."""
LOCAL = {
    "splits",
    "tensorboard",
    "checkpoints/*/data.json",
    "checkpoints/*/leg.json",
    "checkpoints/*/last.ckpt",
    "*scores.csv",
    "*samples.csv",
    "results/predictions",
    "results/overlays",
    "config.given.yaml",
    "config.resolved.yaml",
}
"""What may name a patient or a path: files for the site itself (docs/explanation/what-leaves.md)."""


def picture(folder: Path, number: int) -> str:
    """A PNG with a name in its text and its EXIF data."""
    name, text, exif = f"{PLANTED}_{number:02d}.png", PngInfo(), Image.Exif()
    text.add_text("Comment", f"{PLANTED}, Richard")
    exif[0x010E], exif[0x013B], exif[0x8298] = (f"{PLANTED} {tag}" for tag in ("image", "artist", "rights"))
    Image.fromarray(disc(number)).save(folder / name, pnginfo=text, exif=exif)
    return name


def disc(number: int) -> Any:
    grid = np.hypot(*(np.mgrid[:16, :16] - 8))
    return np.where(grid < 3 + number % 3, 200, 20).astype(np.uint8) + np.uint8(number)


def volume(folder: Path, number: int) -> str:
    """A NIfTI of one slice with a name wherever its header has room for one, and in an extension."""
    name = f"{PLANTED}_{number:02d}.nii"
    image = sitk.GetImageFromArray(disc(number)[None].astype(np.int16))
    for key in ("descrip", "aux_file", "intent_name", "db_name"):
        image.SetMetaData(key, PLANTED)
    sitk.WriteImage(image, str(folder / name))
    raw = bytearray((folder / name).read_bytes())
    raw[148 : 148 + len(PLANTED)] = PLANTED.encode()  # descrip
    raw[228 : 228 + len(PLANTED)] = PLANTED.encode()  # aux_file
    raw[328 : 328 + len(PLANTED)] = PLANTED.encode()  # intent_name
    said = struct.pack("<ii", 48, 6) + PLANTED.encode().ljust(40, b"\0")  # a comment
    raw[108:112], raw[348:352] = struct.pack("<f", 352 + len(said)), b"\1\0\0\0"
    (folder / name).write_bytes(bytes(raw[:352]) + said + bytes(raw[352:]))
    return name


def dicom(folder: Path, number: int) -> str:
    """A DICOM series of one slice, of a patient with a name."""
    name = f"{PLANTED}_{number:02d}"
    (folder / name).mkdir()
    pixels = disc(number).astype(np.int16)
    tags = {"PatientName": f"{PLANTED}^Richard", "PatientID": PLANTED, "StudyDescription": PLANTED}
    write(folder / name / f"{PLANTED}.dcm", header(**tags), pixels)
    return name


def site(folder: Path, *make: Any) -> None:
    """A table of eight images, with a column of names."""
    folder.mkdir(parents=True)
    lines = ["SubjectID,Channel_0,Label,PatientName,Ward"]
    for number in range(8):
        image, mask = make[number % len(make)](folder, number), f"{PLANTED}_{number:02d}_mask.png"
        Image.fromarray((disc(number) > 100).astype(np.uint8)).save(folder / mask)
        lines.append(f"{PLANTED}-{number},{image},{mask},{PLANTED} the {number}th,{PLANTED}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """A file's bytes, and those of the files in it."""
    data = path.read_bytes()
    yield str(path), data
    if zipfile.is_zipfile(path):
        yield from zipped(str(path), data)


def zipped(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        yield f"{name}: names", "\n".join(archive.namelist()).encode()
        yield from ((f"{name}: {entry}", archive.read(entry)) for entry in archive.namelist())


def telling(found: Iterator[tuple[str, bytes]]) -> list[str]:
    """Where a planted name is: in a name, as text, or as UTF-16."""
    words = [PLANTED.lower().encode(), PLANTED.lower().encode("utf-16-le")]
    return [name for name, data in found if any(word in data.lower() for word in words) or PLANTED in Path(name).name]


def test_no_planted_name_is_in_anything_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RELAY_CACHE", str(tmp_path / "cache"))
    site(tmp_path / f"{PLANTED} images" / f"ward_{PLANTED}", picture, volume, dicom)
    root = str(tmp_path / f"{PLANTED} images")
    blocks = given(**{"common.train.num_epochs": 1, "current_tasks": {"task_ids": [1], "laps": 2}})
    blocks["common"]["strategy"] = {"name": "relay", "kwargs": {"experts": False}}
    options = {"root_path": root, "channels": 1, "num_classes": 2, "img_size": [16, 16]}
    blocks["common"]["dataset"] = {"name": "table", "kwargs": options}
    (first, _) = blocks["all_tasks_datasets"]
    blocks["all_tasks_datasets"] = [{"kwargs": {**first["kwargs"], "img_folder": f"ward_{PLANTED}"}}]
    del blocks["all_tasks_datasets"][0]["kwargs"]["camera"]
    blocks["common"]["model"]["kwargs"] |= {"in_channels": 1}
    (tmp_path / "tiny.yaml").write_text(json.dumps(blocks))
    monkeypatch.chdir(tmp_path)
    on = ["-c", "tiny.yaml"]
    for words in (["train", *on], ["predict", *on, "-s"], ["report", "exps/tiny/run"]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert "[image]" in (tmp_path / "exps/tiny/run/logs/run.log").read_text(), "the screen names them"
    run = tmp_path / "exps/tiny/run"
    homes = sorted(run.glob("handoff/*/*/keys.json"))
    keys = [json.loads(path.read_text())["sealing"] for path in homes]
    slips = [receipt.write(StudyStore(path.parent, "simulation")).text() for path in homes]
    assert slips
    assert not [text for text in slips if PLANTED.lower() in text.lower()]
    sealed = list(run.rglob("*.relay.age"))
    assert sealed
    me = [pyrage.x25519.Identity.from_str(key) for key in keys]
    opened = [zipped(path.name, pyrage.decrypt(path.read_bytes(), me)) for path in sealed]
    assert not [name for found in opened for name in telling(found)]
    local = {path for rule in LOCAL for path in run.rglob(rule)} | {path for rule in LOCAL for path in run.glob(rule)}
    others = [path for path in run.rglob("*") if path.is_file() and not any(map(path.is_relative_to, local))]
    others += [path for folder in ("cache", "home") for path in (tmp_path / folder).rglob("*")]
    assert {"report.html", "run.log", "results.json"} <= {path.name for path in others}
    assert not [name for path in others if path.is_file() for name in telling(contents(path))]
    assert any(telling(contents(path)) for path in run.glob("splits/*.json")), "the test looks for what is there"
    masks = [path for path in run.glob("results/predictions/**/*") if path.is_file()]
    assert masks
    assert not [path for path in masks if PLANTED.encode() in path.read_bytes()], "masks have names, no headers"
