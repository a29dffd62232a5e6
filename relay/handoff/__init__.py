"""Handing over: the carry of a leg, signed and sealed for the next site, and verified there."""

from relay.handoff.carry import Carry, load_solver

__all__ = ["Carry", "load_solver"]
