"""Sample-wise Dice on the test sets: ``python predict_test.py -c fundus/relay -s``. Or: ``relay predict``."""

import typer

from relay.cli.app import predict

if __name__ == "__main__":
    typer.run(predict)
