"""What the benchmarks demand of their arguments: one line says what is wrong, and the exit code is 2.

Nothing heavy is imported here, so that a wrong argument is answered at once.
"""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Shows a script's docstring as its help, and takes no abbreviated options."""

    def __init__(self, description: str | None) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, formatter_class=form, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Without the usage, which ``-h`` shows."""
        self.exit(2, f"{self.prog}: {message}\n")


def whole(text: str) -> int:
    """A whole number of 1 or more.

    Raises:
        argparse.ArgumentTypeError: the text is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 999999999")
    return int(text)
