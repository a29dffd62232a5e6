"""A mistyped passphrase is asked for again on a terminal, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.cli import places
from relay.errors import UserError
from relay.handoff import keys, passphrases

RIGHT = "five or six words"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("unlock") / "home"
    keys.save(keys.new("clinic"), place, RIGHT)
    return place


def test_it_is_asked_for_up_to_three_times(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["wrong one", "wrong two", RIGHT]
    monkeypatch.delenv(passphrases.PASSPHRASE, raising=False)
    monkeypatch.delenv(passphrases.PASSPHRASE_FILE, raising=False)
    monkeypatch.setattr(passphrases, "_ask", lambda confirm: answers.pop(0))
    assert places.unlock(home, None).identity.name == "clinic"
    answers = ["a", "b", "c", RIGHT]
    with pytest.raises(UserError, match="wrong passphrase") as caught:
        places.unlock(home, None)
    assert answers == [RIGHT]
    assert "wrong 3 times" in caught.value.advice()


def test_one_from_the_environment_is_tried_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(passphrases.PASSPHRASE, "wrong one")
    with pytest.raises(UserError, match="wrong passphrase") as caught:
        places.unlock(home, None)
    assert "environment variable RELAY_PASSPHRASE" in caught.value.advice()
