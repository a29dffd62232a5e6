"""Files that are put on a stick."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from relay import files
from relay.cli.places import put_file
from relay.errors import UserError


@pytest.mark.parametrize(
    ("code", "said"), [(errno.ENOSPC, "it is full"), (errno.EROFS, "write"), (errno.EACCES, "permission")]
)
def test_a_stick_that_takes_no_file_is_2_whatever_is_put_on_it(
    code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files, "write_bytes", fail)
    with pytest.raises(UserError, match=f"can't write to {tmp_path}") as caught:
        put_file(tmp_path, "study.roster-1.json", b"{}")
    assert said in f"{caught.value} {caught.value.advice()}"
    assert caught.value.exit_code == 2
