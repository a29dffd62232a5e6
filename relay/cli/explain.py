"""See why: ``relay explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from relay.cli import ask, configs, options
from relay.cli.predict import InBundle, OneModel, Received, Which, check_one, chosen_of, one_of
from relay.cli.top import command, log_to, warn
from relay.files import expanded

DEFAULT = "grad_cam,integrated_gradients,occlusion"


@command
def explain(
    config: options.RunConfig,
    image: Annotated[
        list[Path], typer.Option("--image", help="An image, or a folder of images. Repeatable.", metavar="PATH")
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="Comma-separated: grad_cam, grad_cam++, guided_backpropagation, guided_grad_cam, "
            "integrated_gradients, occlusion; or all.",
        ),
    ] = DEFAULT,
    output: Annotated[
        str | None, typer.Option("--class", help="The class to explain, by name or number. Default: the one found.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", help="The convolution that grad_cam looks at. Default: the deepest.")
    ] = None,
    note: options.Note = "run",
    gpus: options.Gpus = None,
    model: OneModel = Which.GENERALIST,
    site: options.OfSite = None,
    received: Received = None,
    bundle: InBundle = None,
    passphrase_file: options.PassphraseFile = None,
    verbose: options.Verbose = False,
    overrides: options.Overrides = None,
) -> None:
    """Draw heat maps of what a model's answer to an image depends on.

    Each map stands beside that of the same net without training: where the two are alike, a map says nothing.
    """
    check_one(received, bundle)
    study, root, devices = configs.study_of(config, note, gpus, overrides, train=False)
    from relay.explain import Asked, doubts, explain, methods_of, write_page
    from relay.predict import images_in, images_of

    asked = Asked(methods_of(method), output, layer, skip=method.strip() == "all")
    paths = images_in([expanded(path) for path in image])
    here = one_of(study, root, config, received, bundle, passphrase_file)
    which: Any = model.value
    chosen = chosen_of(here, which, site)
    log_to(root / "logs" / "explain.log", verbose)
    found = []
    for one in explain(chosen, images_of(paths, chosen.leg.data), asked, devices, warn):
        ask.say(f"{one.path.name}: {one.said}")
        found.append(one)
        for doubt in doubts(one):
            warn(doubt)
    source = chosen.source if root in chosen.source.parents and chosen.source.is_file() else None
    for path in write_page(found, f"{chosen.folder} ({chosen.kind})", root / "explained" / chosen.folder, source):
        ask.say(f"Written: {path}")
