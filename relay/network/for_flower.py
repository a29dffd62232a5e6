"""Legs in Flower apps: the client app of a site, and the server apps of a relay and of federated averaging.

Flower only carries. See :mod:`.bundles` for a relay whose server can read nothing, and :mod:`.averages` for
Flower's own ``FedAvg``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("flwr") is None:
    raise ImportError('Flower is not installed. Install it: pip install "relay-learning[flower]"')

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from relay.errors import RelayError, UserError
from relay.network.averages import averaged_leg
from relay.network.bundles import deliver, sealed_leg

log = logging.getLogger(__name__)
LEG, DELIVER, SITE = "leg", "deliver", "site"
ARRAYS, CONFIG, METRICS, SAMPLES, ROUND = "arrays", "config", "metrics", "num-examples", "server-round"
"""Names in messages; the last two are those of Flower's FedAvg."""
WEEK, POLL = 7 * 24 * 3600.0, 1.0
"""Seconds that a server waits for a leg, and until it looks again who is there."""


def client_app(config: str, sites: Sequence[str] = (), note: str = "network") -> ClientApp:
    """A site's legs.

    Args:
        config: path of the site's config on its own machine; ``{site}`` in it is the site's name.
        sites: of a simulation, by partition id. Otherwise, each SuperNode says its own:
            ``--node-config 'site="north"'``.
        note: of the runs of federated averaging.
    """
    app = ClientApp(mods=[_discreet])

    def asked(context: Context) -> tuple[str, str]:
        site = _site(context, sites)
        return site, config.replace("{site}", site)

    @app.query()
    def who(message: Message, context: Context) -> Message:
        return _reply(message, {}, {SITE: asked(context)[0]})

    @app.train(LEG)
    def leg(message: Message, context: Context) -> Message:
        number = int(message.content[CONFIG][LEG])
        return _reply(message, sealed_leg(asked(context)[1], number, _arrays(message)))

    @app.train(DELIVER)
    def last(message: Message, context: Context) -> Message:
        deliver(asked(context)[1], _arrays(message))
        return _reply(message, {})

    @app.train()
    def averaged(message: Message, context: Context) -> Message:
        number = int(message.content[CONFIG][ROUND])
        weights, samples = averaged_leg(asked(context)[1], number, _arrays(message), note)
        content = RecordDict({ARRAYS: _record(weights), METRICS: MetricRecord({SAMPLES: samples})})
        return Message(content, reply_to=message)

    return app


def _discreet(message: Message, context: Context, go_on: Callable[[Message, Context], Message]) -> Message:
    """Log an error here: Flower would tell the server its message, which may name files or patients."""
    try:
        return go_on(message, context)
    except Exception as error:
        log.error("%s", f"{error}\nwhat to do: {error.advice()}" if isinstance(error, RelayError) else repr(error))
        raise RelayError("the leg failed: its message is in the log of the site") from None


def _site(context: Context, sites: Sequence[str]) -> str:
    if SITE in context.node_config:
        return str(context.node_config[SITE])
    number = int(context.node_config.get("partition-id", len(sites)))
    if number >= len(sites):
        raise UserError("this SuperNode does not say which site it is", "Start it with --node-config 'site=\"NAME\"'.")
    return sites[number]


def _record(arrays: Mapping[str, Any]) -> ArrayRecord:
    return ArrayRecord(array_dict={name: Array(np.asarray(value)) for name, value in arrays.items()})


def _arrays(message: Message) -> dict[str, Any]:
    return {name: value.numpy() for name, value in message.content[ARRAYS].items()}


def _reply(message: Message, arrays: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> Message:
    content = RecordDict({ARRAYS: _record(arrays), CONFIG: ConfigRecord(dict(config or {}))})
    return Message(content, reply_to=message)


def relay_app(order: Sequence[str]) -> ServerApp:
    """Carries the bundle from site to site, and in the end the last one to every site.

    Args:
        order: the sites, as in the study's roster; several laps name each site several times.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        nodes = _nodes(grid, order)
        files: dict[str, Any] = {}
        for number, site in enumerate(order, 1):
            files = _arrays(_ask(grid, [nodes[site]], MessageType.TRAIN, files, LEG, {LEG: number})[0])
        if others := sorted(set(order) - {order[-1]}):
            _ask(grid, [nodes[site] for site in others], MessageType.TRAIN, files, DELIVER)

    return app


def averaging_app(sites: int, rounds: int, folder: str = ".") -> ServerApp:
    """Flower's FedAvg over all sites, in each round; it starts from the initial weights that each site makes alike.

    Args:
        sites: how many.
        rounds: as many as a simulation's ``laps``.
        folder: where ``average.safetensors`` is written in the end.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        from safetensors.numpy import save_file

        strategy = Averaging(fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
        result = strategy.start(grid, ArrayRecord(), num_rounds=rounds, timeout=WEEK)
        average = {name: np.array(value.numpy(), order="C") for name, value in result.arrays.items()}
        save_file(average, Path(folder) / "average.safetensors")

    return app


class Averaging(FedAvg):
    """Flower's FedAvg, which would otherwise go on without a site that failed."""

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """The average of all sites.

        Raises:
            RelayError: a site failed.
        """
        return super().aggregate_train(server_round, _checked(replies))


def _checked(replies: Iterable[Message]) -> list[Message]:
    found = list(replies)
    if failed := [reply for reply in found if reply.has_error()]:
        raise RelayError(
            f"{len(failed)} of {len(found)} sites failed: {failed[0].error.reason}", "See the logs of these sites."
        )
    return found


def _ask(
    grid: Grid,
    nodes: Sequence[int],
    kind: str,
    files: Mapping[str, Any],
    action: str = "",
    config: Mapping[str, Any] | None = None,
) -> list[Message]:
    content = {ARRAYS: _record(files), CONFIG: ConfigRecord(dict(config or {}))}
    name = f"{kind}.{action}" if action else kind
    messages = [Message(RecordDict(content), dst_node_id=node, message_type=name) for node in nodes]
    replies = _checked(grid.send_and_receive(messages, timeout=WEEK))
    if len(replies) < len(nodes):
        raise RelayError(f"{len(nodes) - len(replies)} sites did not answer", "Check that their SuperNodes run.")
    return replies


def _nodes(grid: Grid, order: Sequence[str]) -> dict[str, int]:
    """The node of each site, by what the nodes say, once there are as many."""
    if len(list(grid.get_node_ids())) < len(set(order)):
        log.info("waiting for the SuperNodes of %s", ", ".join(dict.fromkeys(order)))
    while len(list(grid.get_node_ids())) < len(set(order)):
        time.sleep(POLL)
    there: dict[str, int] = {}
    for reply in _ask(grid, list(grid.get_node_ids()), MessageType.QUERY, {}):
        site = str(reply.content[CONFIG][SITE])
        if site in there:
            raise UserError(f"two SuperNodes say that they are {site}", "Give each --node-config with its own site.")
        there[site] = reply.metadata.src_node_id
    if missing := [site for site in dict.fromkeys(order) if site not in there]:
        raise UserError(
            f"no SuperNode is {', '.join(missing)}; those here are {', '.join(sorted(there))}",
            "Start one SuperNode for each site of the order, with --node-config 'site=\"NAME\"'.",
        )
    return there
