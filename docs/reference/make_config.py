"""Writes config.md beside itself from the option classes: ``python docs/reference/make_config.py``.

A key's meaning comes from its class's docstring, its type and default from its declaration. A test checks that the page
matches the code.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from relay.config import schema
from relay.losses import LOSSES
from relay.optim import OPTIMIZERS, SCHEDULERS
from relay.registry import find, names

HEAD = """\
# Config

A config is one YAML file with three blocks, and `paths`:

```yaml
paths: {fundus: data/fundus}              # names for folders; ${paths.fundus} refers to one
common: {...}                             # settings of every leg
all_tasks_datasets: [{kwargs: {...}}]     # the sites' data sets, each with its task_id and task_name
current_tasks: {...}                      # the legs that run here, in order
```

For each leg, `current_tasks.task_confs[id]` overrides `all_tasks_datasets[id]` (as `dataset`), which overrides
`common`, key by key. `paths.local.yaml` in the current folder (same form, never committed) overrides the file, and the
command line overrides both. References are OmegaConf's: `${paths.fundus}`, `${oc.env:DATA}`.

A config can extend another. `extends:` takes the path of a file, relative to this one, or the name of a config
(`fundus/relay`):

```yaml
extends: ../fundus/relay.yaml
common:
  strategy: {name: sequential}            # another name: the kwargs of the other strategy are dropped
current_tasks:
  task_confs: {}                          # an empty block removes the other file's
```

Blocks are merged; everything else, including lists, is replaced. The extended file may extend another one.
`paths.local.yaml` and the command line override the result, and a run records the merged config in full.

relay never converts a value silently. Write numbers as `16`, `1e-3` or `0.5`, and booleans as `true` or `false`. Values
that YAML programs read in two ways are refused, with their line: `yes`, `no`, `on`, `off`, `010`, `1:30`, `1_000`,
`0x10`. So are tags, duplicate keys, infinite numbers, `16.0` or `'16'` for a whole number, and `16` for text. Quote
text: `task_name: '010'`. A value from the environment is text; for a number write `${oc.decode:${oc.env:NAME}}`. The
same rules apply to overrides, `kwargs` and policies.

Everything is checked before any image or weight is read: unknown keys, types, ranges, folders, ids, devices. All
problems are reported at once. `docs/reference/make_config.py` generates this page from the code that checks.
"""


ALIASES = {
    "Text": "str",
    "Regex": "regular expression",
    "Size": "list[int]",
    "Width": "int",
    "Fraction": "float, 0 to 1",
    "TestFraction": "float, 0 to 1",
    "Positive": "float > 0",
    "NotNegative": "float ≥ 0",
    "Weights": "list[float]",
    "Milestone": "float",
    "SplitName": "str",
    "Handoff": "see below",
    "Named": "name and kwargs",
}


def plain(words: str) -> str:
    """A docstring's words as Markdown."""
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", " ".join(words.split()).replace("``", "`")).replace("|", "\\|")


def meanings(cls: type) -> dict[str, str]:
    """What a docstring's ``Attributes`` says of each key."""
    text = inspect.getdoc(cls) or ""
    _, _, listed = text.partition("Attributes:\n")
    found = re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\w|\Z)", listed, re.S | re.M)
    return {name: plain(words) for name, words in found}


def kind(annotation: Any) -> str:
    """A type as people read it."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    text = re.sub(r"Annotated\[(.*?), (?:Field|AfterValidator)\(.*\)\]", r"\1", str(text))
    text = re.sub(r"(, (Field|AfterValidator)\([^()]*\))+\]?$", "", text)
    for alias, words in ALIASES.items():
        text = re.sub(rf"\b{alias}\b", words, text)
    return text.replace("|", "\\|")


def default(field: dataclasses.Field[Any]) -> str:
    """A default as YAML would say it."""
    value = field.default
    if isinstance(value, FieldInfo):
        value = value.default_factory() if value.default_factory else value.default  # type: ignore[call-arg]
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING or "Undefined" in repr(value) or (value == "" and field.type == "Text"):
        return "**required**"
    if dataclasses.is_dataclass(value) and not isinstance(value, schema.Named):
        return "see below"
    if isinstance(value, schema.Named):
        value = value.name
    yaml = {None: "null", True: "true", False: "false", "": "(empty)"}
    return f"`{yaml[value] if isinstance(value, bool | str | None) and value in yaml else value}`"


def table(cls: type, without: type | None = None) -> str:
    """A class's keys as a Markdown table, but those of a base that has a table of its own."""
    known = {f.name for f in dataclasses.fields(without)} if without else set()  # type: ignore[arg-type]
    own = set() if without is None else set(vars(cls).get("__annotations__", {}))
    said = {k: v for base in reversed(cls.__mro__) for k, v in meanings(base).items()}
    fields = [f for f in dataclasses.fields(cls) if f.name not in known or f.name in own]  # type: ignore[arg-type]
    if not fields:
        return "No keys of its own.\n"
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    lines += [f"| `{f.name}` | {kind(f.type)} | {default(f)} | {said.get(f.name, '')} |" for f in fields]
    return "\n".join(lines) + "\n"


def summary(cls: type) -> str:
    """The first paragraph of a docstring."""
    return plain((inspect.getdoc(cls) or "").split("\n\n")[0])


def page() -> str:
    """The whole page."""
    from relay.data import DatasetOptions

    parts = [HEAD]
    for title, cls in (
        ("current_tasks", schema.CurrentTasks),
        ("current_tasks.handoff", schema.Handoff),
        ("common", schema.TaskConf),
        ("common.train", schema.Train),
        ("common.checkpoint", schema.Checkpoint),
    ):
        parts += [f"## `{title}`\n", summary(cls) + "\n", table(cls)]
    parts += ["## `dataset.kwargs`\n", summary(DatasetOptions) + "\n", table(DatasetOptions)]
    for title, group, base in (
        ("dataset", "datasets", DatasetOptions),
        ("strategy", "strategies", None),
        ("model", "nets", None),
    ):
        for name in names(group):  # type: ignore[arg-type]
            options = find(group, name).Options  # type: ignore[arg-type]
            parts += [
                f"### `{title}.name: {name}`\n",
                summary(find(group, name)) + "\n",
                table(options, base),
            ]  # type: ignore[arg-type]
    for title, known in (("loss", LOSSES), ("optimizer", OPTIMIZERS), ("scheduler", SCHEDULERS)):
        parts.append(f"## `train.{title}`\n")
        for name, options in known.items():
            parts += [f"### `{name}`\n", summary(options) + "\n", table(options)]
    return "\n".join(parts)


if __name__ == "__main__":
    target = Path(__file__).with_name("config.md")
    target.write_text(page())
    print(target)
