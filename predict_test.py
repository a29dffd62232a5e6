"""Every metric, sample by sample: ``python predict_test.py -c fundus/relay -s``. Or: ``relay predict``."""

from relay.cli.app import script
from relay.cli.predict import predict

if __name__ == "__main__":
    script(predict)
