"""How cost grows: seconds, memory and bytes at three sizes each, by number of sites, of images, of voxels, of weights.

    python benchmarks/scale.py sites [STRATEGY] [NUMBER…]
    python benchmarks/scale.py images [NUMBER…]
    python benchmarks/scale.py volumes [SLICES…]
    python benchmarks/scale.py bundle [MiB…]

Everything is synthetic, and lies in a temporary folder (``TMPDIR``). Every step is a process of its own; its memory is
the most that was resident at once, with the files that were mapped, as ``/usr/bin/time -v`` counts it. The last line
gives the exponent with which each quantity grew between the smallest size and the largest: 1 is as many times as much.
Sizes are whole numbers, at least two different ones.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arguments import Parser, whole

from relay import registry

Found = dict[str, float]
"""What was measured at one size, by name."""
NET = {"name": "U-Net", "kwargs": {"backbone": "plain", "norm": "group", "features": [4, 8, 8, 8, 8]}}
BATCH = 4


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="relay-scale-") as name:
        yield Path(name)


def child(command: Sequence[object], folder: Path, **environment: str) -> Found:
    """Seconds, processor time and peak memory in MB of a command; its output goes to ``out.txt``."""
    began = time.perf_counter()
    with (folder / "out.txt").open("ab") as out:
        made = subprocess.Popen([*map(str, command)], cwd=folder, stdout=out, stderr=out, env=os.environ | environment)
        _, status, used = os.wait4(made.pid, 0)
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{(folder / 'out.txt').read_text()[-3000:]}")
    wall = time.perf_counter() - began
    return {"s": wall, "cpu s": used.ru_utime + used.ru_stime, "MB": used.ru_maxrss / 1000}


def relay(folder: Path, *words: object, **environment: str) -> Found:
    """A relay command in a folder."""
    return child([sys.executable, "-m", "relay", *words], folder, **environment)


def size(*paths: Path) -> int:
    """Bytes of files, and of all files in folders."""
    return sum(
        file.stat().st_size
        for path in paths
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.is_file()
    )


def config(folder: Path, dataset: Mapping[str, Any], sites: Sequence[Mapping[str, Any]], **common: Any) -> Path:
    """Write a config of one step or two per leg."""
    train = {"num_epochs": 1, "batch_size": BATCH, "check_val_every_n_epoch": 1000}
    block = {
        "random_seed": 1,
        "dataset": dataset,
        "strategy": {"name": "sequential"},
        "model": NET,
        "train": {**train, "loss": {"name": "DiceCE"}, "optimizer": {"name": "Adam"}, "scheduler": {"name": "cosine"}},
    }
    kinds = [{"kwargs": {"task_id": number, **site}} for number, site in enumerate(sites, 1)]
    current = {"task_ids": [*range(1, len(sites) + 1)], **common.pop("current", {})}
    path = folder / "c.yaml"
    path.write_text(
        json.dumps({"common": {**block, **common}, "all_tasks_datasets": kinds, "current_tasks": current})
    )  # YAML, too
    return path


# -- sites -------------------------------------------------------------------------------------------------------------

COUNT, SIDE = 20, 64
CAMERAS = ("clinic_a", "clinic_b", "clinic_c", "clinic_d")


def sites(number: int, strategy: str = "relay") -> Found:
    """A simulation of so many sites, and its report."""
    with scratch() as folder:
        kwargs = {"num_classes": 3, "img_size": [SIDE] * 2, "count": COUNT, "val_fraction": 0.2, "test_fraction": 0.4}
        names = [{"task_name": f"site_{n:02}", "camera": CAMERAS[n % 4]} for n in range(number)]
        kinds = {"name": "synthetic", "kwargs": kwargs}
        path = config(folder, kinds, names, strategy={"name": strategy}, current={"tests": "needed"})
        trained = relay(folder, "train", "-c", path.name, "-n", "n")
        run = folder / "exps" / "c" / "n"
        reported = relay(folder, "report", "exps/c/n")
        legs = [json.loads((run / "checkpoints" / f"task_{n}" / "leg.json").read_text()) for n in range(1, number + 1)]
        bundles = (run / "handoff").rglob("*.relay.age")  # the stick keeps the newest two
        html = [*(run / "results").glob("*.html")]
        return {
            "train s": trained["s"],
            "train cpu s": trained["cpu s"],
            "train MB": trained["MB"],
            "first leg s": legs[0]["seconds"],
            "last leg s": legs[-1]["seconds"],
            "last bundle KB": size(max(bundles, key=lambda path: path.stat().st_mtime)) / 1000,
            "run KB": size(run) / 1000,
            "scores KB": size(run / "results" / "scores.csv") / 1000,
            "data.json KB": size(*run.rglob("data.json")) / 1000,
            "report s": reported["s"],
            "report MB": reported["MB"],
            "report KB": size(*html) / 1000,
        }


# -- images ------------------------------------------------------------------------------------------------------------

PIXELS = 28


def images(number: int) -> Found:
    """One site with so many pictures and masks: listing, checking, one epoch of as few steps as there are."""
    with scratch() as folder:
        draw(folder / "site", number)
        kwargs = {"root_path": ".", "img_folder": "site", "num_classes": 2, "channels": 1, "mask_values": [0, 255]}
        options = {**EPOCHLESS, "strategy": {"name": "relay"}}
        path = config(folder, {"name": "folder", "kwargs": kwargs}, [{"task_name": "site"}], **options)
        made = relay(folder, "data", "table", "site", "-o", "site/t.csv")
        checked = relay(folder, "data", "check", path.name)
        trained = relay(folder, "train", "-c", path.name, "-n", "n")
        run = folder / "exps" / "c" / "n"
        return {
            "table s": made["s"],
            "check s": checked["s"],
            "check MB": checked["MB"],
            "train s": trained["s"],
            "train MB": trained["MB"],
            "pixels MB": number * PIXELS**2 * 2 / 1e6,
            "data.json KB": size(*run.rglob("data.json")) / 1000,
            "scores KB": size(run / "results" / "scores.csv") / 1000,
        }


EPOCHLESS = {
    "train": {
        "num_mimgs": BATCH * 5 / 1e6,
        "batch_size": BATCH,
        "loss": {"name": "DiceCE"},
        "optimizer": {"name": "Adam"},
        "scheduler": {"name": "cosine"},
    }
}
"""Five steps, however many images there are."""


def draw(folder: Path, number: int) -> None:
    """Pictures of noise with a disc, and masks."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:PIXELS, :PIXELS]
    for part in ("image", "mask"):
        (folder / part).mkdir(parents=True)
    for n in range(number):
        y, x = rng.uniform(8, PIXELS - 8, 2)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < 30
        noise = rng.integers(0, 100, disc.shape, np.uint8)
        Image.fromarray(noise + 120 * disc.astype(np.uint8)).save(folder / "image" / f"p{n:06}.png")
        Image.fromarray(255 * disc.astype(np.uint8)).save(folder / "mask" / f"p{n:06}.png")


# -- volumes -----------------------------------------------------------------------------------------------------------

ROWS, SCANS = 512, 5
STEPS = [{"name": "Normalise", "kwargs": {"how": "window", "low": -160, "high": 240}}]


def volumes(slices: int) -> Found:
    """One site with five CT scans of 512×512×so many: patches, then a whole scan to test, and a new one."""
    with scratch() as folder:
        scan(folder / "site", slices)
        kwargs = {
            "root_path": ".",
            "img_folder": "site",
            "num_classes": 3,
            "channels": 1,
            "steps": STEPS,
            "patch_size": [64] * 3,
            "foreground": 0.5,
        }
        net = {"name": "U-Net", "kwargs": {"spatial_dims": 3, "features": [4, 8, 8, 8, 8]}}
        options = {**EPOCHLESS, "model": net}
        path = config(folder, {"name": "folder", "kwargs": kwargs}, [{"task_name": "site"}], **options)
        checked = relay(folder, "data", "check", path.name)
        trained = relay(folder, "train", "-c", path.name, "-n", "n")
        new = folder / "new"
        new.mkdir()
        (folder / "site" / "image" / "ct0.nii.gz").rename(new / "ct0.nii.gz")
        predicted = relay(folder, "predict", "-c", path.name, "-n", "n", "--image", "new/ct0.nii.gz")
        steps = {"check": checked, "train": trained, "predict": predicted}
        return {f"{name} {unit}": found[unit] for name, found in steps.items() for unit in ("s", "MB")}


def scan(folder: Path, slices: int) -> None:
    """CT of noise with two organs, as int16 NIfTI, and masks."""
    import numpy as np
    import SimpleITK as sitk

    rng = np.random.default_rng(0)
    for part in ("image", "mask"):
        (folder / part).mkdir(parents=True)
    for n in range(SCANS):
        values = np.full((slices, ROWS, ROWS), -1000, np.int16)
        values[:, 60:450, 60:450] = 40
        values += rng.integers(-20, 20, (slices, 1, ROWS), np.int16)
        mask = np.zeros(values.shape, np.uint8)
        mask[slices // 4 : slices // 2, 100:200, 100:200] = 1
        mask[slices // 2 : -slices // 4, 250:400, 250:300] = 2
        values += (60 * mask).astype(np.int16)
        for part, array in (("image", values), ("mask", mask)):
            made = sitk.GetImageFromArray(array)
            made.SetSpacing((0.8, 0.8, 1.5))
            sitk.WriteImage(made, str(folder / part / f"ct{n}.nii.gz"), True, compressionLevel=1)


# -- bundles -----------------------------------------------------------------------------------------------------------


def bundle(mebibytes: int) -> Found:
    """A model of so many MiB: signed and sealed, split for FAT32, verified, received; against sha256sum and age."""
    import handoff

    with scratch() as folder:
        handoff.make_handover(folder / "handover", mebibytes * 2**20)
        model = folder / "handover" / "model.safetensors"
        hashed = child(["sha256sum", model], folder)
        code = (
            "import sys, pyrage; pyrage.encrypt_file(*sys.argv[1:3], [pyrage.x25519.Identity.generate().to_public()])"
        )
        sealed = child([sys.executable, "-c", code, model, folder / "plain.age"], folder)
        (folder / "plain.age").unlink()
        found = {"sha256sum s": hashed["s"], "age s": sealed["s"], "age MB": sealed["MB"]}
        for what in ("write", "verify", "split", "receive"):
            done = handoff.step(folder, what)
            found |= {f"{what} s": done["seconds"], f"{what} MB": done["MB"]}
        stick = folder / "study" / "stick"
        return found | {"bytes : the model's": size(stick) / size(model), "volumes": len(list(stick.iterdir()))}


TABLES = {
    "sites": (sites, (5, 15, 50)),
    "images": (images, (1000, 10_000, 100_000)),
    "volumes": (volumes, (75, 150, 300)),
    "bundle": (bundle, (64, 256, 1024)),
}


def asked() -> tuple[str, list[str], list[int]]:
    """The quantity, the strategy if one is named, and the sizes, smallest first; it exits with 2 if one is wrong."""
    parser = Parser(__doc__)
    parser.add_argument("quantity", choices=TABLES, help="by which cost grows")
    parser.add_argument("words", metavar="SIZE", nargs="*", default=[], help="two or more; for sites, first a STRATEGY")
    given = parser.parse_args()
    words = given.words
    strategy = words[:1] if given.quantity == "sites" and words and words[0][:1].isalpha() else []
    if strategy and strategy[0] not in (known := registry.names("strategies")):
        parser.error(f"no such strategy: {strategy[0]}; there are {', '.join(known)}")
    try:
        sizes = sorted({whole(word) for word in words[len(strategy) :]})
    except ArgumentTypeError as error:
        parser.error(str(error))
    if len(sizes) == 1:
        parser.error("give at least two different sizes, or none for the default ones")
    return given.quantity, strategy, sizes or [*TABLES[given.quantity][1]]


def main(what: str, strategy: Sequence[str], numbers: Sequence[int]) -> None:
    """Measure one quantity at its sizes, and print a table."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    measure = TABLES[what][0]
    print("| |", end="")
    rows: list[Found] = []
    for number in numbers:
        rows.append(measure(number, *strategy))
        if len(rows) == 1:
            print("|".join(rows[0]) + "|", flush=True)
        print(f"| {number} |" + "|".join(f"{value:.3g}" for value in rows[-1].values()) + "|", flush=True)
    more = math.log(numbers[-1] / numbers[0])
    print("| exponent |" + "|".join(grown(value, rows[-1][name], more) for name, value in rows[0].items()) + "|")


def grown(first: float, last: float, more: float) -> str:
    """The exponent with which a quantity grew; nothing if there was none of it."""
    return f"{math.log(last / first) / more:.2f}" if first > 0 and last > 0 else ""


if __name__ == "__main__":
    main(*asked())
