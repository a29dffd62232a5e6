"""Train a leg, or simulate all legs: ``python train.py -c fundus/relay -n first -g 0``. The same as ``relay train``."""

import typer

from relay.cli.app import train

if __name__ == "__main__":
    typer.run(train)
