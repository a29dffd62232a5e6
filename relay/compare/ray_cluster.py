"""Spread runs over an existing Ray cluster; Ray is an optional dependency.

A run is a Ray task in a process of its own. Like submitit's executor, :class:`RayExecutor` has ``batch`` and
``submit``, so :func:`relay.compare.spread.run_spread` needs to know nothing of Ray.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import SimpleNamespace
from typing import Any

from relay.compare.running import log_of
from relay.config import Devices
from relay.errors import UserError, first_line, some

HEAD = re.compile(r"(ray://)?(\[[^\]]+\]|[^:/\s]+):\d{1,5}")
ANSWER = 45
"""Seconds to wait for the cluster, and then for all its machines."""
TOKEN = Path("~/.ray/auth_token").expanduser()
CONNECT = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
ADDRESSES = (
    "Give --ray auto on a machine of the cluster, --ray HOST:6379 for its head, or --ray ray://HOST:10001 from outside."
)


class RayRun:
    """A run that a cluster has been given, with submitit's names."""

    def __init__(self, ray: Any, reference: Any, folder: Path) -> None:
        self.ray, self.reference = ray, reference
        self.paths = SimpleNamespace(stderr=log_of(folder))  # Ray's own log is on another machine

    def done(self) -> bool:
        """Whether it has ended, one way or another."""
        return bool(self.ray.wait([self.reference], timeout=0)[0])

    def results(self) -> list[Any]:
        """What the function returned; raises what ended it, if that was not the function."""
        return [self.ray.get(self.reference)]

    def cancel(self, check: bool = False) -> None:
        """Interrupt it as Ctrl-C would."""
        self.ray.cancel(self.reference)


class RayExecutor:
    """Gives runs to a cluster that is already connected.

    Args:
        ray: the module.
        gpus: for each run.
    """

    def __init__(self, ray: Any, gpus: int) -> None:
        self.ray = ray
        self.task = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=1, max_retries=0)(_away)  # a fresh process each

    def batch(self) -> AbstractContextManager[None]:
        """Nothing: Ray needs no batches."""
        return nullcontext()

    def submit(self, function: Callable[..., Any], *parcel: Any) -> RayRun:
        """Start it as soon as a machine is free; the third of its arguments is the run's folder."""
        return RayRun(self.ray, self.task.remote(str(Path.cwd()), function, parcel), parcel[2])


def _away(where: str, function: Callable[..., Any], parcel: tuple[Any, ...]) -> Any:
    """Call a function there as it would be called here: relative paths and own plug-ins are those of this folder."""
    os.chdir(where)
    sys.path.insert(0, where)
    return function(*parcel)


def ray_executor(address: str, root: Path, devices: Devices) -> RayExecutor:
    """Connect to a Ray cluster, and check that its machines can do the runs.

    Args:
        address: ``auto``, ``HOST:PORT`` of the head, or ``ray://HOST:PORT``.
        root: the comparison's folder, which all machines must share.

    Raises:
        UserError: Ray is not installed, the address is wrong or does not answer, a run asks for several GPUs or one
            that no machine has, or a machine has another version of relay or torch or does not see the folder.
    """
    if isinstance(devices.devices, list) and len(devices.devices) > 1:
        raise UserError(
            f"--ray: a run can use one GPU, not {len(devices.devices)}",
            "Give -g 0: each run then gets a GPU of its own. For several GPUs per run, use --slurm.",
        )
    ray, gpus = _connected(address), int(isinstance(devices.devices, list))
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not any(node["Resources"].get("GPU", 0) >= gpus for node in nodes):
        raise UserError(
            f"--ray {address}: no machine of the cluster offers " + ("a GPU" if gpus else "a CPU core"),
            "Check ray status. Without -g, runs train on the CPU.",
        )
    _check(ray, nodes, address, root)
    return RayExecutor(ray, gpus)


def _connected(address: str) -> Any:
    """The module, connected."""
    if not (address == "auto" or HEAD.fullmatch(address)):
        raise UserError(f"--ray {address}: not an address of a Ray cluster", ADDRESSES)
    if find_spec("ray") is None:
        raise UserError("--ray needs Ray, which is not installed", 'pip install "relay-learning[ray]"')
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    if TOKEN.is_file():  # as ray start does
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    _try(address)
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    return ray


def _try(address: str) -> None:
    """Connect in another process first: Ray may try for ever, and can't be interrupted."""
    try:
        tried = subprocess.run([sys.executable, "-c", CONNECT, address], capture_output=True, text=True, timeout=ANSWER)
        why = _last_line(tried.stderr) if tried.returncode else ""
    except subprocess.TimeoutExpired as error:
        why = f"no answer within {ANSWER} seconds: {_last_line((error.stderr or b'').decode(errors='replace'))}"
    if why:
        raise UserError(
            f"--ray {address}: no connection to a Ray cluster: {why}",
            "Check that it runs (ray status), that this computer has the same Ray and Python, and, if the cluster asks "
            f"for a token, that {TOKEN} is the same here. {ADDRESSES}",
        )


def _last_line(said: str) -> str:
    """What Ray said last, without time and place."""
    lines = said.strip().splitlines() or ["no reason given"]
    return re.sub(r"^\[[^]]*\] \S+:\d+: ", "", lines[-1])


def _check(ray: Any, nodes: list[Mapping[str, Any]], address: str, root: Path) -> None:
    """Ask each machine what it has, before any run is sent there."""
    root.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=root, prefix=".ray-") as shared:
        path, look = str(Path(shared.name).resolve()), _look()
        here = look(path)
        asked = {node["NodeManagerAddress"]: _on(ray, node["NodeID"], look).remote(path) for node in nodes}
        try:
            there = dict(zip(asked, ray.get(list(asked.values()), timeout=ANSWER), strict=True))
        except Exception as error:  # Ray has many, and so has whatever fails over there
            raise UserError(
                f"--ray {address}: its machines did not answer: {first_line(error)}",
                "Check ray status: each machine needs a free core and the same Python packages.",
            ) from error
    if wrong := [f"{host} has {_told(found, root)}" for host, found in there.items() if found != here]:
        raise UserError(
            f"--ray {address}: this computer has {_told(here, root)}, but {some(wrong, between='; ')}",
            "Install the same relay and torch on every machine, and start the comparison in a folder that all of them "
            "share under the same path.",
        )


def _on(ray: Any, node: str, function: Callable[..., Any]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_calls=1, scheduling_strategy=there)(function)


def _look() -> Callable[[str], dict[str, str | bool | None]]:
    """A function that travels by value, not by name, so that it also runs where relay is missing."""

    def look(path: str) -> dict[str, str | bool | None]:
        import importlib.metadata
        from pathlib import Path

        found: dict[str, str | bool | None] = {"relay": None, "torch": None, "folder": Path(path).exists()}
        try:
            from relay import __version__

            found |= {"relay": __version__, "torch": importlib.metadata.version("torch")}
        except (ImportError, importlib.metadata.PackageNotFoundError):
            pass
        return found

    return look


def _told(found: Mapping[str, Any], root: Path) -> str:
    have = " and ".join(f"{name} {found[name]}" for name in ("relay", "torch") if found[name]) or "no relay"
    return have if found["folder"] else f"{have}, and not the folder {root.resolve()}"
