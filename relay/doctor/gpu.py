"""GPUs: what the driver shows, and whether the installed torch can use it. torch is imported only if there is one."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from relay.config import visible_gpus
from relay.doctor.finding import Finding, fault, ok, warning
from relay.errors import first_line

CARD = Path("/proc/driver/nvidia/version")
"""There while NVIDIA's kernel module is loaded."""
LABEL = "Build the kit with the torch for this driver (relay kit build --accelerator), and install it."


def check_gpu() -> Iterator[Finding]:
    """The driver, the GPUs that it shows, the torch build, and one sum on each GPU."""
    count = visible_gpus()
    if not count:
        yield _none_visible()
        return
    driver = driver_cuda()
    here = f"the driver shows {count} GPU{'s' * (count > 1)}, for CUDA up to {driver}"
    try:
        build = version("torch")
    except PackageNotFoundError:
        return  # the packages' own finding
    import torch

    if torch.version.cuda is None:
        yield warning("GPU", f"{here}; torch {build} is a build without CUDA, so legs run on the CPU", LABEL)
    elif not torch.cuda.is_available():
        yield warning(
            "GPU",
            f"{here}; torch {build} is built for CUDA {torch.version.cuda} and can't use it",
            f"Update the driver, or use a torch for CUDA {driver} or older. {LABEL}",
        )
    else:
        yield from (_sum_on(torch, number) for number in range(count))


def _none_visible() -> Finding:
    if CARD.exists():
        return warning(
            "GPU",
            "NVIDIA's kernel module is loaded, but no GPU is visible to this user",
            "Run nvidia-smi. If it shows a GPU, check CUDA_VISIBLE_DEVICES and that you may use /dev/nvidia0.",
        )
    return ok("GPU", "none is visible: legs run on the CPU")


def driver_cuda() -> str:
    """The newest CUDA version that the driver supports, such as ``12.6``; ``?`` if it doesn't say."""
    number = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        if driver.cuDriverGetVersion(ctypes.byref(number)):
            return "?"
    except (OSError, AttributeError):
        return "?"
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _sum_on(torch: ModuleType, number: int) -> Finding:
    """Compute one sum: a torch build may know the driver and still have no code for the card."""
    try:
        card, (free, total) = torch.cuda.get_device_name(number), torch.cuda.mem_get_info(number)
        right = float(torch.ones(8, device=f"cuda:{number}").sum()) == 8.0
    except RuntimeError as error:  # torch raises nothing more precise
        return fault(
            "GPU",
            f"GPU {number} does not compute with torch {torch.__version__}: {{error}}",
            f"Close other programs on it and check it with nvidia-smi. If this stays: {LABEL}",
            error=first_line(error),
        )
    text = f"GPU {number}: {card}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, torch {torch.__version__}"
    if not right:
        return fault("GPU", f"{text}; it computes wrong sums", "Don't train on it. Have the card checked.")
    if free < total / 2:
        return warning("GPU", f"{text}; other programs use more than half", "Close them (nvidia-smi lists them).")
    return ok("GPU", text)
