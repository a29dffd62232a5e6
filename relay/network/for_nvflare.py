"""Legs in NVFlare jobs: the executor of a site, and the controller of a relay.

NVFlare only carries. See :mod:`.bundles` for a relay whose server can read nothing, and :mod:`.averages` for
NVFlare's own ``FedAvg`` controller.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

if find_spec("nvflare") is None:
    raise ImportError('NVFlare is not installed. Install it: pip install "relay-learning[nvflare]"')

import numpy as np
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLMetaKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.app_common.workflows.model_controller import ModelController

from relay.errors import RelayError
from relay.network.averages import averaged_leg
from relay.network.bundles import deliver, sealed_leg

LEG, DELIVER, ROUND = "leg", "deliver", "train"
"""Tasks: a leg of a relay, its last bundle, and what NVFlare's FedAvg asks for."""
AVERAGE = "average.safetensors"


class LegExecutor(Executor):
    """Does a site's legs.

    Args:
        config: path of the site's config on its own machine; ``{site}`` in it is the site's name.
        note: of the runs of federated averaging.
    """

    def __init__(self, config: str, note: str = "network") -> None:
        super().__init__()
        self.config, self.note = config, note

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Do one task; an error is logged here, and the server learns only that there was one."""
        site, model = fl_ctx.get_identity_name(), FLModelUtils.from_shareable(shareable, fl_ctx)
        config = self.config.replace("{site}", site)

        def stopped() -> bool:
            return bool(abort_signal.triggered)

        meta: dict[str, Any] = {}
        try:
            if task_name == LEG:
                params = sealed_leg(config, int(model.meta[LEG]), model.params, stopped)
            elif task_name == DELIVER:
                deliver(config, model.params)
                params = {}
            elif task_name == ROUND:
                turn = int(model.current_round) + 1
                params, meta[FLMetaKey.NUM_STEPS_CURRENT_ROUND] = averaged_leg(
                    config, turn, model.params, self.note, stopped
                )
            else:
                return make_reply(ReturnCode.TASK_UNKNOWN)
        except RelayError as error:
            self.log_error(fl_ctx, f"{error}\nwhat to do: {error.advice()}")
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        return FLModelUtils.to_shareable(FLModel(params_type=ParamsType.FULL, params=params, meta=meta))


class InRelay(ModelController):
    """Carries the bundle from site to site, and in the end the last one to every site.

    Args:
        order: the sites, as in the study's roster; several laps name each site several times.
    """

    def __init__(self, order: list[str]) -> None:
        super().__init__(persistor_id="")
        self.order = order

    def run(self) -> None:
        """Do every leg in turn; a leg that fails ends the job."""
        files: dict[str, Any] = {}
        for number, site in enumerate(self.order, 1):
            (done,) = self._ask(LEG, files, [site], leg=number) or [None]
            if done is None or not done.params:
                self.panic(f"leg {number} at {site} failed: its message is in the log there")
                return
            files = done.params
            self.info(f"leg {number} of {len(self.order)}, {site}: {', '.join(files)}")
        others = sorted(set(self.order) - {self.order[-1]})
        if len(self._ask(DELIVER, files, others)) < len(others):
            self.panic("not every site has the last bundle: see the logs of these sites, and give the job again")

    def _ask(self, task: str, files: dict[str, Any], sites: list[str], **meta: Any) -> list[FLModel]:
        model = FLModel(params_type=ParamsType.FULL, params=files, meta=meta)
        return list(self.send_model_and_wait(task_name=task, data=model, targets=sites) if sites else [])


class Averaging(FedAvg):
    """NVFlare's FedAvg, which starts from nothing: in the first round, each site makes the same initial weights.

    Args:
        num_clients: all sites, in each round.
        num_rounds: as many as a simulation's ``laps``.
    """

    def __init__(self, num_clients: int, num_rounds: int) -> None:
        empty = FLModel(params_type=ParamsType.FULL, params={})
        super().__init__(
            num_clients=num_clients, num_rounds=num_rounds, persistor_id="", model=empty, save_filename=AVERAGE
        )

    def save_model_file(self, model: FLModel, filepath: str) -> None:
        """After each round, the average as safetensors."""
        from safetensors.numpy import save_file

        save_file({name: np.array(value, order="C") for name, value in model.params.items()}, filepath)
