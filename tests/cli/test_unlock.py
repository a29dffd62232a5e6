"""A mistyped passphrase is asked for again on a terminal, and nowhere else; in every command, training too."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.errors import UserError
from relay.trust import keys, passphrases
from relay.trust.keys import Keys, WrongPassphrase

RIGHT = "five or six words"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that open at once; that those of a home open with their passphrase alone is tested with the keys."""
    made = keys.new("clinic")

    def load(home: Path, asked: object) -> Keys:
        if asked() != RIGHT:  # type: ignore[operator]
            raise WrongPassphrase(f"wrong passphrase for {home}", "Type it again.")
        return made

    monkeypatch.setattr(keys, "load", load)
    for name in (passphrases.PASSPHRASE, passphrases.PASSPHRASE_FILE):
        monkeypatch.delenv(name, raising=False)


def test_it_is_asked_for_up_to_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    answers = ["wrong one", "wrong two", RIGHT]
    monkeypatch.setattr(passphrases, "_ask", lambda confirm, again: (asked.append(again), answers.pop(0))[1])
    assert keys.unlock(Path("home")).identity.name == "clinic"
    assert asked == [False, True, True], "the prompt says that the one before was wrong"
    answers = ["a", "b", "c", RIGHT]
    with pytest.raises(UserError, match="wrong passphrase") as caught:
        keys.unlock(Path("home"))
    assert answers == [RIGHT]
    assert "wrong 3 times" in caught.value.advice()


def test_one_from_the_environment_or_a_file_is_tried_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(passphrases.PASSPHRASE, "wrong one")
    with pytest.raises(UserError, match="wrong passphrase") as caught:
        keys.unlock(Path("home"))
    assert "environment variable RELAY_PASSPHRASE" in caught.value.advice()
    file = tmp_path / "secret"
    file.write_text("wrong, too")
    file.chmod(0o600)
    with pytest.raises(UserError, match="wrong passphrase") as caught:
        keys.unlock(Path("home"), file)
    assert f"the file {file}" in caught.value.advice()
