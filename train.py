"""Train a leg, or all legs: ``python train.py -c fundus/relay -n first -g 0``. Or: ``relay train``."""

import typer

from relay.cli.app import train

if __name__ == "__main__":
    typer.run(train)
