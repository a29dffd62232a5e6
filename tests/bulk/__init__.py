"""Tests of relay.bulk."""
