"""Compute every metric for every sample: ``python predict_test.py -c fundus/relay -s``, or ``relay predict``."""

from relay.cli.app import script
from relay.cli.predict import predict

if __name__ == "__main__":
    script(predict)
