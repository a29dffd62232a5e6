"""Sample-wise Dice on the test sets: ``python predict_test.py -c fundus/relay -s``. Or: ``relay predict``."""

from relay.cli.app import predict, script

if __name__ == "__main__":
    script(predict)
