"""The strict reader of safetensors files: what the library writes is read, and only one spelling of it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from relay import tensorfile
from relay.errors import RelayError
from relay.tensorfile import BadTensors

F32 = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
DTYPES = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)


def of(header: str | bytes | dict[str, Any], data: bytes = bytes(16)) -> bytes:
    """A file with that header."""
    text = json.dumps(header) if isinstance(header, dict) else header
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw + data


def read(data: bytes, folder: Path, **limits: Any) -> dict[str, torch.Tensor]:
    path = folder / "w.safetensors"
    path.write_bytes(data)
    return tensorfile.load(path, **limits)


Tensors = st.dictionaries(
    st.text("abcdef.0_é", min_size=1, max_size=8),
    st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=4)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=Tensors)
def test_what_the_library_writes_is_read_as_the_library_reads_it(said: Any, tmp_path: Path) -> None:
    made = {name: (torch.rand(shape) * 9).to(dtype) for name, (dtype, shape) in said.items()}
    data = save(made)
    found = read(data, tmp_path, count=len(made))
    theirs = load_file(tmp_path / "w.safetensors")
    assert found.keys() == made.keys() == theirs.keys()
    for name, tensor in found.items():
        assert (tensor.dtype, tensor.shape) == (made[name].dtype, made[name].shape)
        assert tensor.view(torch.uint8).equal(theirs[name].view(torch.uint8)) if tensor.ndim else True


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_file_is_refused_or_means_the_same_to_the_library(data: Any, tmp_path: Path) -> None:
    """Whatever passes the strict reader, the library reads; and nothing ends in another error than the one."""
    good = bytearray(save({"a": torch.ones(2, 3), "b": torch.tensor([True, False]), "c": torch.arange(3)}))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at] = data.draw(st.sampled_from([0, 1, 2, 0x20, 0x22, 0x2C, 0x30, 0x39, 0x5B, 0x7D, 0xFF]))
    try:
        found = read(bytes(good), tmp_path)
    except BadTensors:
        return
    try:
        theirs = load_file(tmp_path / "w.safetensors")
    except SafetensorError as error:
        raise AssertionError("read here, refused by the library") from error
    assert found.keys() == theirs.keys()


ONE = json.dumps({"w": F32})
REFUSED = {
    "empty": (b"", "truncated"),
    "no header": (of(b""), "truncated"),
    "longer than the file": (struct.pack("<Q", 2**62) + b"{}", "truncated"),
    "twice": (of(f'{{"w":{json.dumps(F32)},"w":{json.dumps(F32)}}}'), "a key appears twice"),
    "twice inside": (of('{"w":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}'), "appears twice"),
    "unknown type": (of({"w": {**F32, "dtype": "F4"}}), "type F4"),
    "type no text": (of({"w": {**F32, "dtype": ["F32"]}}), "has the type"),
    "2^63 beside 0": (of({"w": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}, b""), "a shape"),
    "2^62 beside 0": (of({"w": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}, b""), "a shape"),
    "negative": (of({"w": {**F32, "shape": [-4]}}), "a shape"),
    "a truth for a number": (of({"w": {**F32, "shape": [True, 4]}}), "a shape"),
    "a fraction": (of({"w": {**F32, "shape": [4.0]}}), "not a whole number"),
    "NaN": (of('{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}'), "not a whole number"),
    "many axes": (of({"w": {**F32, "shape": [4, *[1] * 8]}}), "a shape"),
    "other offsets": (of({"w": {**F32, "data_offsets": [0, 12]}}), "has 16 bytes"),
    "backwards": (of({"w": {**F32, "data_offsets": [16, 0]}}), "has 16 bytes"),
    "three offsets": (of({"w": {**F32, "data_offsets": [0, 16, 16]}}), "two numbers"),
    "a hole": (of({"w": {**F32, "data_offsets": [4, 20]}}, bytes(20)), "starts at byte 4"),
    "overlap": (of({"v": F32, "w": {**F32, "data_offsets": [8, 24]}}, bytes(24)), "starts at byte 8"),
    "bytes after the end": (of({"w": F32}, bytes(17)), "the file has 17"),
    "bytes missing": (of({"w": F32}, bytes(15)), "the file has 15"),
    "boolean 2": (of({"w": {"dtype": "BOOL", "shape": [16], "data_offsets": [0, 16]}}, b"\1" * 15 + b"\2"), "boolean"),
    "metadata": (of({"__metadata__": {"by": "me"}, "w": F32}), "not allowed here"),
    "metadata null": (of({"__metadata__": None, "w": F32}), "__metadata__"),
    "another key": (of({"w": {**F32, "more": 1}}), "nothing else"),
    "a key missing": (of({"w": {"dtype": "F32", "shape": [4]}}), "nothing else"),
    "a list": (of("[]"), "a single JSON object"),
    "space in front": (of(" " + ONE), "a single JSON object"),
    "a tab after it": (of(ONE + "\t"), "a single JSON object"),
    "two objects": (of(ONE + ONE), "not JSON"),
    "not UTF-8": (of(b'{"\xff":1}'), "not JSON"),
    "half a surrogate": (of('{"\\ud800":{}}'), "printable"),
    "a name that moves the cursor": (of({"\x1b[2J": F32}), "printable"),
    "no name": (of({"": F32}), "printable"),
    "a long name": (of({"w" * 201: F32}), "1 to 200"),
    "nested": (of('{"w":' + "[" * 5000 + "]" * 5000 + "}"), "not JSON"),
    "a long number": (of('{"w":' + "9" * 5000 + "}"), "not JSON"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, tmp_path: Path) -> None:
    data, says = REFUSED[kind]
    with pytest.raises(BadTensors, match=says) as caught:
        read(data, tmp_path)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_metadata_of_a_local_file_is_text(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "pt"}, "w": F32}
    assert read(of(header), tmp_path, metadata=True)["w"].tolist() == [0.0] * 4
    with pytest.raises(BadTensors, match="only contain texts"):
        read(of({**header, "__metadata__": {"n": 1}}), tmp_path, metadata=True)


def test_spaces_after_the_header_are_padding(tmp_path: Path) -> None:
    assert read(of(ONE + "   "), tmp_path)["w"].numel() == 4


@pytest.mark.parametrize(
    ("count", "says"), [(1, "has 2 tensors; it must have 1"), (3, "has 2 tensors; it must have 3")]
)
def test_as_many_tensors_as_were_signed_for(count: int, says: str, tmp_path: Path) -> None:
    with pytest.raises(BadTensors, match=says):
        read(save({"a": torch.ones(1), "b": torch.ones(1)}), tmp_path, count=count)


EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    ("many", "count", "says"),
    [
        (100, 1, "the limit is 2048 for 1"),
        (10_001, None, "10001 tensors; the limit"),
        (90_000, None, "4194304 for 10000"),
    ],
)
def test_a_header_of_many_empty_tensors_is_not_parsed(
    many: int, count: int | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = of(json.dumps({f"{n:x}": EMPTY for n in range(many)}, separators=(",", ":")), b"")
    if "the limit is" in says or "for 10000" in says:
        monkeypatch.setattr(json, "loads", pytest.fail)
    with pytest.raises(RelayError, match=says):
        read(data, tmp_path, count=count)
