"""Nets for the tests: one that any program can run, and one that no graph can hold."""

from __future__ import annotations

from typing import Any

from relay.nets import Net, NetOptions


class Small(Net):
    """Two convolutions."""

    Options = NetOptions

    def build(self) -> Any:
        """See :class:`Net`."""
        from torch import nn

        channels, outputs = self.channels()
        return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, outputs, 3, padding=1))


class Moody(Small):
    """What it does depends on what it sees."""

    def build(self) -> Any:
        """See :class:`Net`."""
        from torch import nn

        class Mood(nn.Module):
            def __init__(self, net: nn.Module) -> None:
                super().__init__()
                self.net = net

            def forward(self, x: Any) -> Any:
                return self.net(x if x.mean() > 0 else -x)

        return Mood(super().build())
