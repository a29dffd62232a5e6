"""Handing over: the carry of a leg, signed and sealed for the next site, and verified there."""

from relay.handoff.carry import Carry, Part, load_solver

__all__ = ["Carry", "Part", "load_solver"]
