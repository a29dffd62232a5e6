"""The closed list of entries, and the manifest."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from relay.bundle import manifest
from relay.bundle.manifest import Layout, covers, names_fit, parse, write
from relay.trust.refusals import BadContainer, BadDocument

A, B = "a" * 64, "b" * 64
LAYOUT = Layout([1, 3], 2, True, True, (2,), True, (1, 2))

digests = st.dictionaries(
    st.from_regex(r"[a-zA-Z0-9_][a-z0-9_-]{0,9}(/[a-z0-9_-]{1,9})?", fullmatch=True),
    st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    min_size=1,
    max_size=5,  # their drawing takes longer than all that is done with them
)


@given(digests)
def test_round_trip(content: dict[str, str]) -> None:
    assert list(parse(write(content)).items()) == list(content.items())


@given(st.binary(max_size=200))
def test_what_is_read_is_what_would_be_written(data: bytes) -> None:
    try:
        content = parse(data)
    except BadDocument:
        return
    assert write(content) == data


@given(digests, st.data())
def test_no_second_spelling(content: dict[str, str], data: st.DataObject) -> None:
    good = write(content)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    with contextlib.suppress(BadDocument):
        assert parse(bad) != content


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes"),
        (f"{A}  a".encode(), "does not end with a newline"),
        (f"{A}  a\n\n".encode(), "line 2: ''"),
        (f"{A} a\n".encode(), "line 1"),
        (f"{A} *a\n".encode(), "line 1"),
        (f"{A}  a\r\n".encode(), "line 1"),
        (f"{A.upper()}  a\n".encode(), "line 1"),
        (f"{A[1:]}  a\n".encode(), "line 1"),
        (f"\\{A}  a\n".encode(), "line 1"),
        (f"{A}  /a\n".encode(), "line 1"),
        (f"{A}  a/../b\n".encode(), "line 1"),
        (f"{A}  ä\n".encode(), "line 1"),
        (f"{A}  a\u2028b\n".encode(), "line 1"),
        (f"{A}  a\n{B}  a\n".encode(), "line 2: a appears twice"),
        (b"x" * (4 * 2**20 + 1), "4194305 bytes"),
    ],
)
def test_anything_else_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadDocument, match=message):
        parse(data)


def test_sha256sum_checks_it(tmp_path: Path) -> None:
    if not shutil.which("sha256sum"):
        pytest.skip("sha256sum is not on this machine")
    (tmp_path / "chain").mkdir()
    files = {"a.json": b"{}", "chain/b": b"b"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    listing = write({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    (tmp_path / "manifest").write_bytes(listing)
    command = ["sha256sum", "--strict", "-c", "manifest"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "a.json: OK\nchain/b: OK\n")
    (tmp_path / "a.json").write_bytes(b"[]")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_the_list_of_entries() -> None:
    assert LAYOUT.names() == [
        "statement.dsse.json",
        "manifest-sha256.txt",
        "rosters/0001.dsse.json",
        "rosters/0003.dsse.json",
        "chain/0001/statement.dsse.json",
        "chain/0001/manifest-sha256.txt",
        "chain/0001/results.json",
        "chain/0001/data-card.json",
        "chain/0001/expert.safetensors",
        "chain/0002/statement.dsse.json",
        "chain/0002/manifest-sha256.txt",
        "chain/0002/results.json",
        "chain/0002/data-card.json",
        "chain/0002/memory.json",
        "chain/0002/memory.safetensors",
        "chain/0002/expert.safetensors",
        "MODEL_CARD.md",
        "handover.json",
        "config.json",
        "data-card.json",
        "results.json",
        "memory.json",
        "memory.safetensors",
        "cumulative.json",
        "cumulative.safetensors",
        "expert.safetensors",
        "model.safetensors",
    ]


@given(
    st.sets(st.integers(1, 9999), min_size=1, max_size=5),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
    st.sets(st.integers(1, 5)),
    st.booleans(),
    st.sets(st.integers(1, 5)),
)
def test_every_layout_fits_itself(
    rosters: set[int], legs: int, memory: bool, cumulative: bool, kept: set[int], expert: bool, experts: set[int]
) -> None:
    earlier = [tuple(sorted(k for k in some if k <= legs)) for some in (kept, experts)]
    layout = Layout(sorted(rosters), legs, memory, cumulative, earlier[0], expert, earlier[1])
    names = layout.names()
    assert names_fit(names) == layout
    assert len([name for name in names if name.endswith(manifest.EXPERT)]) == expert + len(layout.experts)
    assert set(layout.memories) == {name for name in names if name.endswith("y.safetensors") or "cumulative.s" in name}
    assert all(manifest.card_of(name) in names for name in layout.memories)
    links = [*layout.links(lambda name: name.encode())]
    assert [name for link in links for name in link.values()] == [
        name.encode() for name in names if name.startswith("chain/") and not name.endswith(".safetensors")
    ]


@given(st.data())
def test_no_other_order_fits(data: st.DataObject) -> None:
    names = data.draw(st.permutations(LAYOUT.names()))
    if names != LAYOUT.names():
        with pytest.raises(BadContainer, match=r"found .* where .* must be"):
            names_fit(names)


@pytest.mark.parametrize("name", [n for n in LAYOUT.names() if not n.startswith("rosters") and "expert" not in n])
def test_each_entry_is_needed(name: str) -> None:
    with pytest.raises(BadContainer, match=f"missing {name}"):
        names_fit([n for n in LAYOUT.names() if n != name])


@pytest.mark.parametrize(
    "name",
    [
        "optimizer.ckpt",
        "model.pt",
        "Model.safetensors",
        "chain/0000/statement.dsse.json",
        "chain/0001/model.safetensors",
        "chain/0001/cumulative.json",
        "chain/0001/cumulative.safetensors",
        "chain/0000/memory.safetensors",
        "chain/0000/expert.safetensors",
        "chain/0003/expert.json",
        "expert.json",
        "memory.json.safetensors",
        "chain/1/results.json",
        "rosters/0000.dsse.json",
        "rosters/0002.json",
        "rosters/00001.dsse.json",
        "handover.json/x",
    ],
)
def test_nothing_else_may_be_there(name: str) -> None:
    for at in (0, 5, len(LAYOUT.names())):
        names = LAYOUT.names()
        names.insert(at, name)
        with pytest.raises(BadContainer, match=f"extra {name}"):
            names_fit(names)


def test_a_gap_in_the_chain_is_named() -> None:
    names = [n for n in Layout([1], 3, True, True, (1, 2, 3)).names() if not n.startswith("chain/0002")]
    with pytest.raises(BadContainer, match=r"missing chain/0002/statement\.dsse\.json, chain/0002/manifest"):
        names_fit(names)
    with pytest.raises(BadContainer, match="and 39983 more"):
        names_fit([n.replace("chain/0003", "chain/9999") for n in names])


def test_a_roster_is_needed() -> None:
    with pytest.raises(BadContainer, match="no roster"):
        names_fit(Layout([], 0).names())
    with pytest.raises(BadContainer, match="missing statement"):
        names_fit([])


def test_twice_is_refused() -> None:
    with pytest.raises(BadContainer, match="twice"):
        names_fit([*LAYOUT.names(), manifest.MODEL])


def test_a_memory_travels_with_its_card() -> None:
    for name in ("chain/0001/memory.safetensors", "chain/0001/memory.json"):
        names = Layout([1], 1).names()
        names.insert(7, name)
        with pytest.raises(BadContainer, match="missing chain/0001/memory"):
            names_fit(names)


def test_a_manifest_covers_all_but_the_first_two() -> None:
    names = LAYOUT.names()
    listed = dict.fromkeys(names[2:], A)
    covers(listed, names)
    with pytest.raises(BadContainer, match="missing model"):
        covers(dict.fromkeys(names[2:-1], A), names)
    with pytest.raises(BadContainer, match="extra other"):
        covers({**listed, "other": A}, names)
