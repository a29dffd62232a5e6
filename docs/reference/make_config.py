"""Writes config.md beside itself from the option classes: ``python docs/reference/make_config.py``.

A key's meaning comes from its class's docstring, its type and default from its declaration. A test checks that the page
matches the code.
"""

from __future__ import annotations

from pathlib import Path

from relay.config import describe, schema, summary
from relay.data import DatasetOptions
from relay.nets import LibraryOptions
from relay.registry import Kind, find, names, options_of

PLUGINS: tuple[tuple[str, Kind, type | None], ...] = (
    ("dataset.kwargs.steps", "steps", None),
    ("dataset", "datasets", DatasetOptions),
    ("strategy", "strategies", None),
    ("strategy.kwargs.memory", "memories", None),
    ("model", "nets", None),
    ("train.loss", "losses", None),
    ("train.optimizer", "optimizers", None),
    ("train.scheduler", "schedulers", None),
    ("predict.postprocess", "postprocessing", None),
)
HEAD = """\
# Config

A config is one YAML file with three blocks, and optionally `paths` and `results`:

```yaml
paths: {fundus: data/fundus}              # names for folders; ${paths.fundus} refers to one
common: {...}                             # settings of every leg
all_tasks_datasets: [{kwargs: {...}}]     # the sites' data sets, each with its task_id and task_name
current_tasks: {...}                      # the legs that run here, in order
results: {metrics: [my_metric:Mine]}      # metrics and report sections of your own
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
AUGMENTING = """\
Also any random dictionary transform of monai (`monai:RandGaussianNoised`) and any augmenter of imgaug
(`imgaug:Fliplr`), with its own keywords. See [Add an augmentation](../how-to/add-an-augmentation.md).
"""
MONAI = """\
Any net of monai that maps images to classes, by the name of its class and its own keywords: `monai:SegResNet`,
`monai:DynUNet`, `monai:UNet`, `monai:DenseNet121`, `monai:EfficientNetBN`, … Channels, outputs, `spatial_dims` and
`img_size` come from the data set. monai's own `pretrained` would download weights: here it is a local file.
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
        ("common.train.privacy", schema.PrivateTraining),
        ("common.predict", schema.Predict),
        ("common.checkpoint", schema.Checkpoint),
    ):
        parts += [f"## `{title}`\n", summary(cls) + "\n", table(cls)]
    parts += ["## `dataset.kwargs`\n", summary(DatasetOptions) + "\n", table(DatasetOptions)]
    parts += ["### `augment`: its names\n", names_of("augmentations"), AUGMENTING]
    for name in names("augmentations"):
        if (takes := options_of("augmentations", find("augmentations", name))) is not None:
            parts += [f"#### `{name}`\n", table(takes)]
    for title, kind, base in PLUGINS:
        own = title.startswith(("train.", "predict."))
        parts += [f"## `{title}`\n"] if own else []
        for name in names(kind):
            found = find(kind, name)
            head = f"### `{name}`\n" if own else f"### `{title}.name: {name}`\n"
            parts += [head, cell(summary(found)) + "\n", table(options_of(kind, found) or found, base)]
        if kind == "nets":
            parts += ["### `model.name: monai:…`\n", MONAI, table(LibraryOptions)]
    return "\n".join(parts)


if __name__ == "__main__":
    target = Path(__file__).with_name("config.md")
    target.write_text(page())
    print(target)
