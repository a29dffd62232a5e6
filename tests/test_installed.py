"""What is installed, and the lock."""

from __future__ import annotations

from relay.installed import lock_here, parse_lock, required


def test_a_lock_lists_what_applies_to_this_python() -> None:
    text = (
        "# why\nNumPy==1.2 ; python_version > '3'\nold==1 ; python_version < '3'\n  --hash=sha256:00\nA_b==2+cpu \\\n"
    )
    assert parse_lock(text) == {"numpy": (2, "1.2"), "a-b": (5, "2+cpu")}


def test_what_relay_requires_is_found_with_what_that_requires() -> None:
    assert {"torch", "monai", "numpy", "markupsafe"} <= required().keys()  # jinja2 requires the last one
    assert lock_here() is not None
