"""Handing over: the handover of a leg, signed and sealed for the next site, and verified there."""

from relay.handoff.handover import Handover, MemoryState, load_model

__all__ = ["Handover", "MemoryState", "load_model"]
