"""Writes config.md beside itself from the option classes: ``python docs/reference/make_config.py``.

What a key means stands in its class's docstring, its type and default in its declaration; a test keeps the page and
the code together.
"""

from __future__ import annotations

from pathlib import Path

from relay.config import describe, schema, summary
from relay.data import DatasetOptions
from relay.registry import Kind, find, names, options_of

PLUGINS: tuple[tuple[str, Kind, type | None], ...] = (
    ("dataset", "datasets", DatasetOptions),
    ("strategy", "strategies", None),
    ("model", "nets", None),
    ("train.loss", "losses", None),
    ("train.optimizer", "optimizers", None),
    ("train.scheduler", "schedulers", None),
)
HEAD = """\
# Config

A config is one YAML file with three blocks, and, if you like, `paths` and `results`:

```yaml
paths: {fundus: data/fundus}              # plain names for folders; ${paths.fundus} refers to one
common: {...}                             # how every leg is run
all_tasks_datasets: [{kwargs: {...}}]     # the sites' data sets, each with its task_id and task_name
current_tasks: {...}                      # which legs run here, in which order
results: {metrics: [my_metric:Mine]}      # what is measured and shown beside all that is installed
```

For each leg, `current_tasks.task_confs[id]` goes over `all_tasks_datasets[id]` (as `dataset`) over `common`, deeply.
Above the file goes `paths.local.yaml` in the current folder, if there is one (the same form, never committed), and
above both what the command line says. References are OmegaConf's: `${paths.fundus}`, `${oc.env:DATA}`.

No value is turned into another. A number is written as `16`, `1e-3` or `0.5`, a truth value as `true` or `false`. What
YAML programs read in two ways is refused, with its line: `yes`, `no`, `on`, `off`, `010`, `1:30`, `1_000`, `0x10`; so
are tags, doubled keys, infinite numbers, `16.0` or `'16'` for a whole number and `16` for text. Quote what is text:
`task_name: '010'`. A value from the environment is text; for a number write `${oc.decode:${oc.env:NAME}}`. All this
holds for overrides, `kwargs` and policies, too.

Everything is checked before any image or weight is read: unknown keys, types, ranges, folders, ids, devices; all
problems are reported at once. This page is written by `docs/reference/make_config.py` from the code that checks.
"""


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|")


def table(cls: type, without: type | None = None) -> str:
    """A class's keys as a Markdown table, but those of a base that has a table of its own."""
    known = {option.name for option in describe(without)} if without else set()
    own = set() if without is None else set(vars(cls).get("__annotations__", {}))
    found = [option for option in describe(cls) if option.name not in known or option.name in own]
    if not found:
        return "No keys of its own.\n"
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for o in found:
        default = "**required**" if o.default is None else f"`{o.default}`"
        lines.append(f"| `{o.name}` | {cell(o.kind)} | {cell(default)} | {cell(o.meaning)} |")
    return "\n".join(lines) + "\n"


def names_of(kind: Kind) -> str:
    """The names of a kind that takes no options, as a Markdown table."""
    lines = ["| name | |", "|---|---|", *(f"| `{n}` | {cell(summary(find(kind, n)))} |" for n in names(kind))]
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, cls in (
        ("current_tasks", schema.CurrentTasks),
        ("current_tasks.handoff", schema.Handoff),
        ("results", schema.Results),
        ("common", schema.TaskConf),
        ("common.train", schema.Train),
        ("common.checkpoint", schema.Checkpoint),
    ):
        parts += [f"## `{title}`\n", summary(cls) + "\n", table(cls)]
    parts += ["## `dataset.kwargs`\n", summary(DatasetOptions) + "\n", table(DatasetOptions)]
    parts += ["### `augment`: its names\n", names_of("augmentations")]
    for title, kind, base in PLUGINS:
        parts += [f"## `{title}`\n"] if title.startswith("train.") else []
        for name in names(kind):
            found = find(kind, name)
            head = f"### `{name}`\n" if title.startswith("train.") else f"### `{title}.name: {name}`\n"
            parts += [head, cell(summary(found)) + "\n", table(options_of(kind, found) or found, base)]
    return "\n".join(parts)


if __name__ == "__main__":
    target = Path(__file__).with_name("config.md")
    target.write_text(page())
    print(target)
