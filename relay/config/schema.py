"""The schema of a config: blocks, keys, types, ranges and defaults, in one place.

A config has the blocks ``common``, ``all_tasks_datasets`` and ``current_tasks`` (and ``results``, for metrics and
sections of your own, and ``paths``, plain names for folders that other keys refer to). For every task,
``task_confs[id]`` over ``all_tasks_datasets[id]`` over ``common`` gives a :class:`TaskConf`. What a plug-in takes
(``kwargs``) is checked by its own options.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator
from typing_extensions import Self

from relay.config.decorator import Field, options
from relay.config.names import plain_name

MAX_SEED = 2**32 - 1
"""The largest seed that every library accepts."""
FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$"), AfterValidator(plain_name)]


@options
class Named:
    """Something chosen by name, with its options."""

    name: str
    kwargs: dict[str, Any] = Field(default_factory=dict)


@options
class Save:
    """Folder for a leg's checkpoints, under ``exps/<config>/<note>/checkpoints``; default ``task_<id>``."""

    dir: FolderName | None = None


@options
class Checkpoint:
    """What a leg starts from, and where its results go.

    Attributes:
        load: ``auto`` (the previous leg: of ``task_ids`` in a simulation, of the relay in a deployment; nothing for
            the first leg), null (nothing), or the ``save.dir`` of an earlier task (``task_1`` or
            ``task_1/last.ckpt``). A deployment requires ``auto``, since it loads what was received. ``laps`` require
            ``auto``, too, or a value that means the same in the first lap. A strategy that starts from scratch
            ignores it.
        save: ``save.dir`` is the leg's folder under ``exps/<config>/<note>/checkpoints``; default ``task_<id>``. Later
            laps use ``<save.dir>_lap2`` and so on.
    """

    load: str | None = "auto"
    save: Save = Field(default_factory=Save)


@options
class EarlyStopping:
    """When a phase ends before its budget is spent.

    Attributes:
        patience: how many validations in a row may be no better.
        min_delta: how much better a score must be to count, in the unit of the primary metric.
    """

    patience: Annotated[int, Field(ge=1)]
    min_delta: Annotated[float, Field(ge=0)] = 0.0


@options
class PrivateTraining:
    """Training with a guarantee: whether any one patient took part changes what leaves only a little (differential
    privacy). See docs/explanation/differential-privacy.md.

    Attributes:
        epsilon: what a leg may cost in all: its training and what its memory releases. Smaller protects more.
        delta: the chance with which more may be told; below one in the number of patients.
        noise: the noise multiplier, in the place of ``epsilon``, which then follows from it.
        clip: largest norm of one patient's gradient.
        images: most images of one patient in a step, drawn anew in each.
        unit: whom the guarantee is for. All images of a patient are one.
        budget: what all legs of this site in the study may cost together, the sum of their epsilons; null for no limit.
        accountant: ``prv`` or, looser, ``rdp``.
        randomness: ``secret``, from the operating system; or ``seed``, which repeats and protects nobody: for tests.
    """

    epsilon: Annotated[float, Field(gt=0, le=100)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    noise: Annotated[float, Field(gt=0, le=1e6)] | None = None
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    images: Annotated[int, Field(ge=1)] = 4
    unit: Literal["patient"] = "patient"
    budget: Annotated[float, Field(gt=0)] | None = None
    accountant: Literal["prv", "rdp"] = "prv"
    randomness: Literal["secret", "seed"] = "secret"

    @model_validator(mode="after")
    def _one_strength(self) -> Self:
        if (self.epsilon is None) == (self.noise is None):
            raise ValueError("give one of epsilon and noise")
        if self.budget is not None and self.epsilon is not None and self.epsilon > self.budget:
            raise ValueError(f"one leg would cost more (epsilon {self.epsilon:g}) than the budget {self.budget:g}")
        return self


@options
class Train:
    """How to fit a phase. Set exactly one of ``num_epochs`` and ``num_mimgs`` as the budget.

    Attributes:
        num_epochs: passes over the training images; each pass uses an image ``repeats`` times.
        num_mimgs: millions of images (or patches) in total; for a strategy that pools, per site.
        batch_size: images per step, on each device.
        precision: bits; 16 and ``bf16`` are mixed precision. 16 needs a GPU. ``auto`` is ``bf16`` where the CPU or GPU
            has it and the net is faster in it, else 32; the leg's record says which.
        loss: name and kwargs, see below; null for the task's own: ``DiceCE`` in segmentation, ``CE`` in classification,
            ``BCE`` in multilabel, ``MSE`` in regression.
        optimizer: name and kwargs; the same for ``scheduler`` (updated at every step).
        warmup: a linear rise of the learning rate before the schedule begins: steps, or below 1 a share of all steps.
        accumulate: batches whose gradients are added up for one step; with little memory, as good as a batch as many
            times as large, except for batch normalisation.
        compile: make the net faster with ``torch.compile``, which takes a minute or so at the start of each phase and
            rounds a little differently; where it can't be compiled, one line says so, and it trains as without (the
            plain U-Net on a CPU, with torch 2.13).
        activation_checkpointing: compute the net's activations a second time in the backward pass instead of keeping
            them: less memory, about a third more time, the same weights. For large patches and volumes.
        keep: ``last``, or ``best``: the weights with the best primary metric on the validation images.
        early_stopping: ``patience`` and ``min_delta`` by the same metric; null trains to the end.
        gradient_clip: largest norm of the gradient; 0 for no limit.
        privacy: train with differential privacy, see below; ``batch_size`` is then the expected number of *patients*
            per step. Null for no guarantee.
        check_val_every_n_epoch: epochs between two scores of the validation images.
        log_every_n_steps: steps between two points of the curves.
        save_every_n_seconds: least time between two states to resume from (written at the end of an epoch).
    """

    num_epochs: Annotated[int, Field(ge=1)] | None = None
    num_mimgs: Annotated[float, Field(gt=0)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 16
    precision: Literal[16, 32, 64, "bf16", "auto"] = 32
    loss: Named | None = None
    optimizer: Named = Field(default_factory=lambda: Named(name="Adam"))
    scheduler: Named = Field(default_factory=lambda: Named(name="constant"))
    warmup: Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)] = 0
    accumulate: Annotated[int, Field(ge=1)] = 1
    compile: bool = False
    activation_checkpointing: bool = False
    keep: Literal["last", "best"] = "last"
    early_stopping: EarlyStopping | None = None
    gradient_clip: Annotated[float, Field(ge=0)] = 0.0
    privacy: PrivateTraining | None = None
    check_val_every_n_epoch: Annotated[int, Field(ge=1)] = 10
    log_every_n_steps: Annotated[int, Field(ge=1)] = 20
    save_every_n_seconds: Annotated[float, Field(ge=0)] = 30.0

    @property
    def runtime(self) -> tuple[str, ...]:
        """Keys that change how a leg runs, not what it learns."""
        validations = () if self.keep == "best" or self.early_stopping else ("check_val_every_n_epoch",)
        return ("log_every_n_steps", "save_every_n_seconds", "privacy.budget", "activation_checkpointing", *validations)


@options
class Predict:
    """How a model is applied, in tests and to images without a target.

    Attributes:
        mirror: mean output over the image and all its mirror images; 4 times the time in 2D, 8 times in 3D.
        postprocess: steps on the predicted mask, in this order, each with ``name`` and ``kwargs``; with ``slices``, on
            the mask of each slice.
    """

    mirror: bool = False
    postprocess: list[Named] = Field(default_factory=list)


@options
class TaskConf:
    """One task, after merging the three blocks.

    Attributes:
        random_seed: the source of every random choice of the study.
        num_workers: processes that make batches, at most one per core; 0 is fastest for small images and light
            augmentation.
        dataset: ``name`` and ``kwargs``; the same for ``strategy`` and ``model``.
        train: see below; the same for ``predict`` and ``checkpoint``.
    """

    random_seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    num_workers: Annotated[int, Field(ge=0)] = 0
    dataset: Named
    strategy: Named
    model: Named
    train: Train
    predict: Predict = Field(default_factory=Predict)
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)


@options
class Handoff:
    """Where a deployment's leg comes from and goes to.

    Attributes:
        study: the study's name, as in its roster.
        key: this site's home with its keys, made by ``relay keys new``; null means ``$RELAY_HOME``, else ``~/.relay``.
        receive: a bundle, or the folder (a stick) that holds it; null uses what ``relay receive`` has taken in.
        send: the folder (a stick) for the leg's bundle; null leaves sending to ``relay send``.
        passphrase_file: a file with the passphrase of the keys; null asks, or reads ``RELAY_PASSPHRASE`` or
            ``RELAY_PASSPHRASE_FILE`` from the environment.
        volume: largest file in bytes; null means 4 GiB on FAT32 and no limit elsewhere.
    """

    study: str
    key: str | None = None
    receive: str | None = None
    send: str | None = None
    passphrase_file: str | None = None
    volume: Annotated[int, Field(ge=2**20)] | None = None


@options
class CurrentTasks:
    """The tasks that run here, their order, and each task's own settings.

    Attributes:
        task_ids: the legs, in order.
        laps: how many times a simulation repeats ``task_ids``; in a deployment, the roster's order decides. A strategy
            that starts from scratch makes one lap.
        tests: ``all``: each leg's model is tested on all test sets; their number grows with the square of the sites.
            ``needed``: on those of its own site and of the next leg's, and the last leg's model on all, from which the
            scores at the end and transfer are measured. Forgetting is not: it needs the scores in between. Legs that
            start from nothing are tested on all.
        mode: ``simulation`` runs all of ``task_ids`` one after another on this node; ``deployment`` runs one leg,
            at its own site.
        task_confs: for each ``task_id``, values that override ``common`` in that leg only.
        handoff: keys and sticks; required in a deployment. A simulation uses temporary keys.
    """

    task_ids: Annotated[list[int], Field(min_length=1)]
    laps: Annotated[int, Field(ge=1, le=999)] = 1
    tests: Literal["all", "needed"] = "all"
    mode: Literal["simulation", "deployment"] = "simulation"
    task_confs: dict[int, dict[str, Any]] = Field(default_factory=dict)
    handoff: Handoff | None = None


PluginName = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
"""``module:Name``, for a file of one's own."""


@options
class Results:
    """Your own metrics and report sections. Those of installed packages are always used and need no entry here.

    Attributes:
        metrics: your metrics, each ``module:Class``.
        report_sections: your sections of the report, each ``module:function``.
    """

    metrics: tuple[PluginName, ...] = ()
    report_sections: tuple[PluginName, ...] = ()


@options
class Blocks:
    """The top level of a config file.

    Attributes:
        common: settings of every leg.
        all_tasks_datasets: the sites' data sets, each with its ``task_id`` and ``task_name``; over ``common.dataset``.
        current_tasks: the legs that run here, in order.
        results: metrics and report sections of your own.
        paths: names for folders; ``${paths.fundus}`` refers to one.
    """

    common: dict[str, Any]
    all_tasks_datasets: Annotated[list[dict[str, Any]], Field(min_length=1)]
    current_tasks: CurrentTasks
    results: Results = Field(default_factory=Results)
    paths: dict[str, str] = Field(default_factory=dict)
