"""A rehearsal, from keys to the last hospital's model: the commands that it would start, typed in this process."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from relay import rehearse
from tests.cli.typed import Done, typed
from tests.studies import given

QUICK = {"common.train.num_epochs": 1, "common.dataset.kwargs.count": 14, "common.dataset.kwargs.repeats": 1}


def test_a_study_from_keys_to_the_last_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, Done]] = []

    def run(command: list[str], *, cwd: Path, env: Mapping[str, str], **_: Any) -> Any:
        said = typed(*command[3:], cwd=cwd, **{name: env.get(name) for name in ("RELAY_HOME", "RELAY_PASSPHRASE_FILE")})
        ran.append((f"{cwd.name}: {command[3]}", said))
        return subprocess.CompletedProcess(command, said.code, said.out, said.err)

    monkeypatch.setattr(
        rehearse, "subprocess", SimpleNamespace(run=run, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)
    )
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(given(**QUICK)))
    done = typed("rehearse", "-c", "study.yaml", "-o", "here", cwd=tmp_path)
    assert done.code == 0, [said.err for _, said in ran][-1] + done.err
    assert [what for what, _ in ran] == [
        *(f"{who}: keys" for who in ("coordinator", "clinic_a", "clinic_b")),
        "coordinator: invite",
        "coordinator: keys",
        "clinic_a: request",
        "clinic_b: request",
        "coordinator: roster",
        "clinic_a: roster",
        "clinic_b: roster",
        "clinic_a: train",
        "clinic_b: train",
        "clinic_b: receipt",
        "clinic_a: verify",
        "clinic_a: receive",
    ]
    assert "Everything is in here" in done.out
    assert (tmp_path / "here/clinic_b/exps/config/run/results/report.html").is_file()
    ran.clear()
    assert typed("rehearse", "-c", "study.yaml", "-o", "here", cwd=tmp_path).code == 0
    assert not [what for what, _ in ran if what.split()[1] in ("invite", "request", "roster")], "it resumes"
