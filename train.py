"""Train a leg, or all legs: ``python train.py -c fundus/relay -n first -g 0``, the same as ``relay train``."""

from relay.cli.app import script, train

if __name__ == "__main__":
    script(train)
