"""Handing over: the carry of a leg, written for the next site and read from the previous one."""

from relay.handoff.carry import Carry, is_carry, load_solver, receive, send

__all__ = ["Carry", "is_carry", "load_solver", "receive", "send"]
