"""What people read about a leg: its results and the model card."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from relay.bundle import audits, experts
from relay.bundle.audits import PrivacyAudit
from relay.bundle.schemas import HandoverSpec, InputSpec, Stated
from relay.numbers import number
from relay.tasks import of_metric
from relay.trust import Claim

COLUMNS = 30
"""Maximum number of test sets in a table."""


def results(
    leg: int, site: str, rows: Iterable[Mapping[str, Any]], zero_shot: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Average the score rows of single samples (:mod:`relay.results`); no sample or patient is named.

    A mean is null if nothing could be measured. Rows are in the order of the scores.

    Args:
        rows: those of scores count, and those that say ``model`` only if it is ``generalist``.
        zero_shot: scores of the models that arrived, before training, as :class:`~relay.bundle.schemas.ZeroShot` has
            them, with exact counts.
    """
    cells: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row.get("model", "generalist") != "generalist" or of_metric(row["metric"]) is None:
            continue
        values = cells.setdefault((row["site"], row["class"], row["metric"]), [])
        if not math.isnan(row["value"]):
            values.append(float(row["value"]))
    means = [
        {"site": s, "label": c, "metric": m, "mean": round(math.fsum(v) / len(v), 6) if v else None}
        for (s, c, m), v in cells.items()
    ]
    return {"format": 1, "leg": leg, "trained": site, "rows": means, "zero_shot": [dict(score) for score in zero_shot]}


def model_card(
    claims: Sequence[Claim],
    head: HandoverSpec,
    config: Mapping[str, Any],
    counts: str,
    sizes: Mapping[str, int],
    privacy: Stated | None = None,
    audit: PrivacyAudit | None = None,
) -> str:
    """The model card, in Markdown.

    Args:
        claims: of all legs, oldest first, this one's last.
        head: the content of ``handover.json``.
        config: the scientific config, flat.
        counts: ``rounded`` or ``exact``, as this leg discloses them.
        sizes: in bytes, of the weight files that are in the bundle.
        privacy: what this leg's training guarantees its patients.
        audit: of this leg's privacy; None if there was none.
    """
    own, data, model = claims[-1], head.data, head.model
    kwargs = ", ".join(f"{key}={value}" for key, value in model.kwargs.items())
    about = "exact" if counts == "exact" else "rounded to powers of two"
    return "\n".join(
        [
            f"# {own.study}: model after leg {own.leg}, by {own.site}",
            "",
            f"Made on {own.issued[:10]} with relay {own.code.relay} (torch {own.code.torch}), under roster "
            f"{own.roster.version}.",
            "",
            "## What it is",
            "",
            f"- Net: `{model.name}`{f' ({kwargs})' if kwargs else ''}; {own.handover.model.tensors} tensors, "
            f"{own.handover.model.bytes} bytes.",
            f"- Reads images of {data.channels} channel(s), scaled to {list(data.intensity_range)}; distinguishes: "
            f"{', '.join(data.classes)}.",
            *_processing(data),
            _training(own),
            *([f"- Differential privacy of this leg's training: {privacy}."] if privacy else []),
            f"- Memories in the bundle of this leg: {_memories(claims)}. A copy for a hospital outside the study may "
            "leave them out, and experts, too.",
            *(f"- In the same bundle: {label}, {text}." for label, text in experts.lines(claims, sizes)),
            _settings(own, config),
            "",
            "## Sites and scores",
            "",
            f"{own.score_name} of each leg's model on the test images at its site. This leg's sample count is {about}.",
            "Over few patients, a mean tells much about each; over one, it is that patient's result.",
            "",
            *_matrix(claims),
            "",
            "## Privacy",
            "",
            *(f"- {text[:1].upper()}{text[1:]}." for _, text in audits.told([own], {own.leg: audit})),
            "",
            "## Known limits",
            "",
            "- Each row was measured and signed by the site that did the leg. A signature says who claims a score,",
            "  not that the score is true.",
            "- At sites where this leg's model was not tested, its scores are not known; expect them to be lower.",
            "- A cell without a number was not measured. Nothing here says how the model performs on other scanners,",
            "  populations or protocols.",
            "- Not a medical device: for research only, until it has been validated for its intended use.",
            "",
        ]
    )


def _training(own: Claim) -> str:
    """What trained the model."""
    by = f"this leg by the site's own code, `{own.own_code}`" if own.own_code else f"strategy `{own.strategy}`"
    return f"- Trained by relay learning, {by}, one site after another, each leg on the images at its site."


def _settings(own: Claim, config: Mapping[str, Any]) -> str:
    """What is known of the leg's training."""
    if own.own_code:
        return (
            "- Loss, optimiser, precision and the images that this leg's code trained with are not known here, nor "
            "whether the training can be repeated; the other settings are in `config.json`."
        )
    loss, optimizer = (config.get(f"train.{part}.name", "default") for part in ("loss", "optimizer"))
    return f"- Loss `{loss}`, optimiser `{optimizer}`; all settings are in `config.json`."


def _processing(data: InputSpec) -> Iterator[str]:
    """What is done to an image first."""
    if data.slices:
        yield f"- Reads volumes as {data.slices} slices."
    for step in data.steps or ():
        options = ", ".join(f"{key}={value}" for key, value in step.kwargs.items() if value is not None)
        yield f"- Step `{step.name}` ({options})."
    if data.target_scale:
        yield "- Its output × {1:g} + {0:g} is the number that it predicts.".format(*data.target_scale)


def _memories(claims: Sequence[Claim]) -> str:
    single = [f"from {claim.site} (leg {claim.leg})" for claim in claims if claim.handover.memory]
    return (
        ", ".join([*single, *(["a cumulative one from all legs"] if claims[-1].handover.cumulative else [])]) or "none"
    )


def test_sets(claims: Sequence[Claim]) -> tuple[list[str], int]:
    """The test sets that claims name, up to what fits in a table, and how many more there are."""
    sites = list(dict.fromkeys(site for claim in claims for site in claim.result))
    return sites[:COLUMNS], len(sites[COLUMNS:])


def _matrix(claims: Sequence[Claim]) -> list[str]:
    """One row for each leg, one column for each test set."""
    sites, more = test_sets(claims)
    lines = [
        "| leg | site | strategy | samples | " + " | ".join(sites) + " |",
        "|---" * (4 + len(sites)) + "|",
    ]
    for claim in claims:
        shown = " | ".join(number(claim.scores.get(site)) for site in sites)
        lines.append(f"| {claim.leg} | {claim.site} | {claim.strategy} | {claim.samples} | {shown} |")
    return [*lines, *(["", f"{more} more test sets are in the statements."] if more else [])]
