"""The two pages for the data protection officer say what files say, cite them, and leave the rest open."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from relay.bundle import measure
from relay.errors import UserError
from relay.papers import write_pages
from relay.protection import pages
from tests.relays import At
from tests.studies import finished, study


def test_the_pages_cite_what_they_say_and_leave_open_what_nobody_here_knows(at: At, tmp_path: Path) -> None:
    root, config = finished(tmp_path / "exps/tiny/run"), tmp_path / "tiny.yaml"
    config.write_text("x: 1\n")
    (root / "audit.json").write_text(json.dumps({"verdict": "<b>53</b> of 100 | a coin 50", "attacks": {"lira": 0.53}}))
    store = at(2).stores["north"]
    annex, flow = pages(study(), config, root, store)
    text, said = annex.markdown(), flow.markdown()
    assert "Draft for the data protection officer" in text
    card = root / "checkpoints/task_1/handover/data-card.json"
    assert "patients test 2, train 6, val 2" in text
    assert measure(card).sha256 in text
    assert "verdict &lt;b>53&lt;/b> of 100 \\| a coin 50; attacks.lira 0.53" in text
    assert "none: there is no privacy.json in the run" in text
    assert f"| Coordinator | {store.roster.coordinator.name} |" in text
    assert re.search(r"\| Legal basis, consent \| \[to be filled in", text)
    assert "| Leg 1 left |" in said
    assert "sealed for south" in said
    assert "| model.safetensors | the weights of the model |" in said
    assert annex.open > 10
    html = annex.html()
    assert "&lt;b&gt;53&lt;/b&gt;" in html
    assert not re.findall(r'<script|https?:|src=|href=(?!"(#|data:,"))', html)
    written = write_pages((annex, flow), tmp_path)
    assert [path.name for path in written] == ["dpia-annex.md", "dpia-annex.html", "data-flow.md", "data-flow.html"]
    with pytest.raises(UserError, match="exists already"):
        write_pages((annex, flow), tmp_path)


def test_before_anything_is_here_nearly_everything_is_open(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text("x: 1\n")
    annex, flow = pages(study(), config, tmp_path / "exps/tiny/run", None)
    assert "no roster: a simulation, or not joined yet" in annex.markdown()
    assert "| Legs signed here | none |" in flow.markdown()
