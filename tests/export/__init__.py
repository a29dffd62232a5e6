"""Tests of relay.export."""
