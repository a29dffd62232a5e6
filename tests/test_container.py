"""The Containerfile keeps what its how-to promises. No builder is at hand here: it is read, and not built."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Containerfile").read_text()
STEPS = [line.partition(" ")[::2] for line in re.sub(r"\\\n\s*|^#.*\n", "", TEXT, flags=re.M).splitlines() if line]


def said(instruction: str) -> list[str]:
    return [rest for word, rest in STEPS if word == instruction]


def test_every_line_is_an_instruction_and_the_first_are_in_order() -> None:
    known = {"ARG", "FROM", "COPY", "RUN", "ENV", "WORKDIR", "VOLUME", "USER", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in STEPS} == known
    assert [word for word, _ in STEPS][:2] == ["ARG", "FROM"]


def test_it_runs_as_an_ordinary_user_with_volumes_and_no_secret() -> None:
    assert said("USER") == ["relay"]
    last = [word for word, _ in STEPS]
    assert last.index("USER") > max(place for place, word in enumerate(last) if word in ("RUN", "COPY", "VOLUME"))
    assert said("VOLUME") == ['["/work/data", "/work/exps", "/keys"]']
    assert said("ENTRYPOINT") == ['["relay"]']
    assert "RELAY_PASSPHRASE" not in TEXT
    assert "RELAY_HOME=/keys" in said("ENV")[0]


def test_relay_comes_from_the_kit_alone() -> None:
    install, system = said("RUN")
    assert install == "--network=none sh /kit/install.sh /opt/relay"
    assert not re.search(r"\b(pip|curl|wget|git)\b", system)
    assert said("COPY") == ["kit /kit", "--from=installed /opt/relay /opt/relay"]
    assert all(re.search(r":\$\{PYTHON\}-slim-\w+( AS installed)?$", image) for image in said("FROM"))


def test_the_how_to_runs_it_without_a_network_and_with_a_read_only_root() -> None:
    page = (ROOT / "docs/how-to/run-in-a-container.md").read_text()
    for text in (TEXT, page):
        for option in ("--network=none", "--read-only", "--tmpfs=/tmp", "--userns=keep-id:uid=1000,gid=1000"):
            assert option in text
