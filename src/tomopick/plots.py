"""Figures made from logs and results, as PNG. Each function draws one figure and returns its caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tomopick.atomic import replacing
from tomopick.curves import PRCurve
from tomopick.errors import DataError
from tomopick.objects import ParticleObject
from tomopick.reliability import error_of_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Target",
    "object_color",
    "one_axes",
    "plot_means",
    "plot_memory",
    "plot_pr",
    "plot_reliability",
    "plot_thresholds",
    "plot_training",
    "save_figure",
    "write_replacing",
]

Target = str | Path | IO[bytes]
"""Where a figure goes: a path, or an open binary file."""

BLUE, ORANGE, GREY = "#1f77b4", "#ff7f0e", "#9aa0a6"
DOTS_PER_INCH = 130


def write_replacing(path: str | Path, data: bytes) -> Path:
    """Write the file in one step: to a temporary name beside it, then renamed, so that an old file survives a failure.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def save_figure(figure: Figure, target: Target) -> None:
    """Write the figure as PNG to a path, replacing what was there, or into an open binary file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    if isinstance(target, (str, Path)):
        write_replacing(target, buffer.getvalue())
    else:
        target.write(buffer.getvalue())


def one_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one plain axes; no pyplot, so nothing global is left behind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    """No frame, a faint grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e6e8", linewidth=0.6)
    axes.set_axisbelow(True)


def object_color(particle: ParticleObject) -> tuple[float, ...]:
    """The object's colour as matplotlib wants it, RGBA from 0 to 1."""
    return tuple(c / 255 for c in particle.color)


def _band(histories: Sequence[pd.DataFrame], name: str) -> pd.DataFrame:
    """Mean and standard deviation of a loss by epoch: over runs where there are several, else over batches."""
    loss = f"{name}_loss"
    rows = pd.concat([h.reindex(columns=["epoch", loss, f"{loss}_sd"]) for h in histories]).dropna(subset=[loss])
    by_epoch = rows.groupby("epoch")
    spread = by_epoch[f"{loss}_sd"].first() if len(histories) == 1 else by_epoch[loss].std()
    return pd.DataFrame({"mean": by_epoch[loss].mean(), "sd": spread.fillna(0.0).astype(np.float64)})


def plot_training(histories: Sequence[pd.DataFrame], target: Target, *, captioned: bool = True) -> str:
    """Draw training (blue) and validation (orange) loss by epoch.

    Args:
        histories: one table for each run (seed or fold) with the columns epoch, train_loss, val_loss and, where known,
            train_loss_sd and val_loss_sd (standard deviation over the batches of the epoch).
        target: path or binary file for the PNG.
        captioned: draw the caption into the figure too; not needed where it is printed below it.

    Returns:
        The caption, which says what the bands are.

    Raises:
        DataError: there is no history, or one lacks the losses.
    """
    for history in histories:
        missing = [c for c in ("epoch", "train_loss", "val_loss") if c not in history.columns]
        if missing:
            raise DataError(
                f"a training log lacks the columns {', '.join(missing)}; it has {', '.join(history.columns)}"
            )
    if not histories or all(h.empty for h in histories):
        raise DataError("there is no training log to draw; train at least one epoch")
    from matplotlib.ticker import MaxNLocator

    figure, axes = one_axes(7.5, 4.2)
    bands = {"training": _band(histories, "train"), "validation": _band(histories, "val")}
    for (label, band), color in zip(bands.items(), (BLUE, ORANGE), strict=True):
        epoch, mean, sd = band.index.to_numpy(np.float64), band["mean"].to_numpy(), band["sd"].to_numpy()
        axes.plot(epoch, mean, color=color, label=label, linewidth=1.8, marker="o", markersize=3)
        axes.fill_between(epoch, np.maximum(mean - sd, 0), mean + sd, color=color, alpha=0.2, linewidth=0)
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False)
    caption = _training_caption(histories, any((band["sd"] > 0).any() for band in bands.values()))
    if captioned:
        figure.supxlabel(caption, fontsize=8, color="#555555")
    save_figure(figure, target)
    return caption


def _training_caption(histories: Sequence[pd.DataFrame], has_bands: bool) -> str:
    if len(histories) > 1:
        uneven = len({int(h["epoch"].max()) for h in histories if len(h)}) > 1
        return (
            f"Lines: mean of {len(histories)} runs (seeds or folds). Bands: one standard deviation over these runs."
            + (" Late epochs hold only the runs that reached them." if uneven else "")
        )
    if has_bands:
        return "One training run. Bands: one standard deviation over the batches of an epoch."
    return "One training run; no bands."


def plot_memory(rows: pd.DataFrame, target: Target) -> str:
    """Draw memory by layer as bars.

    Args:
        rows: columns name (layer), parameters_mb, computed_mb and measured_mb (activations); a figure that was not
            obtained is NaN.
        target: path or binary file for the PNG.

    Raises:
        DataError: a column is missing or there are no rows.
    """
    bars = {
        "parameters_mb": ("parameters", GREY),
        "computed_mb": ("activations, computed", BLUE),
        "measured_mb": ("activations, measured", ORANGE),
    }
    missing = [c for c in ("name", *bars) if c not in rows.columns]
    if missing or rows.empty:
        raise DataError(f"memory by layer lacks {', '.join(missing) or 'rows'}; it needs name, {', '.join(bars)}")
    figure, axes = one_axes(7.5, 1.4 + 0.5 * len(rows))
    places = np.arange(len(rows), dtype=np.float64)
    for k, (column, (label, color)) in enumerate(bars.items()):
        values = rows[column].to_numpy(np.float64)
        drawn = axes.barh(places + 0.27 * (k - 1), np.nan_to_num(values), height=0.25, color=color, label=label)
        texts = ["" if np.isnan(v) or v == 0 else f"{v:.3g}" for v in values]
        axes.bar_label(drawn, labels=texts, padding=2, fontsize=7)
    axes.set_yticks(places, rows["name"].astype(str))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("MB")
    axes.legend(frameon=False, loc="best", fontsize=8)
    save_figure(figure, target)
    return "Memory by layer in MB: parameters, and activations as computed and as measured."


def plot_means(
    volumes: Mapping[str, NDArray[np.float32]],
    spacing: float,
    target: Target,
    aligned: Mapping[str, NDArray[np.float32]] | None = None,
) -> str:
    """Draw the middle slices of mean subtomograms, xy above and xz below, all boxes to one scale.

    Args:
        volumes: cubes (zyx) by object.
        spacing: voxel spacing in Angstrom.
        target: path or binary file for the PNG.
        aligned: means of aligned subtomograms, of the same objects in the same order, to draw below.
    """
    from matplotlib.figure import Figure

    widest = max(v.shape[0] for v in volumes.values())
    bands = [volumes, aligned] if aligned else [volumes]
    figure = Figure(figsize=(1.9 * len(volumes) + 0.4, 4.2 * len(bands)), layout="constrained")
    half = spacing * widest / 2
    rows = figure.subplots(2 * len(bands), len(volumes), squeeze=False)
    columns = np.concatenate([rows[i : i + 2].T for i in range(0, len(rows), 2)])
    drawn = [item for band in bands for item in band.items()]
    for (name, volume), column in zip(drawn, columns, strict=True):
        middle = volume.shape[0] // 2
        low, high = np.percentile(volume, (0.5, 99.5))
        for axes, plane, across in zip(column, (volume[middle], volume[:, middle]), ("y", "z"), strict=True):
            reach = spacing * volume.shape[0] / 2
            axes.imshow(plane, cmap="gray", vmin=low, vmax=high, origin="lower", extent=(-reach, reach, -reach, reach))
            axes.set(xlim=(-half, half), ylim=(-half, half), xticks=[], yticks=[])
            axes.set_xlabel(f"x{across}", fontsize=8)
        column[0].set_title(name, fontsize=8)
    save_figure(figure, target)
    how = "as they lie and, below, turned onto one another" if aligned else "not aligned"
    return f"Mean subtomograms, {how}: slices through the middle, {2 * half:.0f} A wide; particles are dark."


def plot_pr(curves: Mapping[str, PRCurve], objects: Sequence[ParticleObject], target: Target) -> str:
    """Draw precision against recall, one line for each object of ``objects`` that ``curves`` holds."""
    figure, axes = one_axes(6.0, 4.6)
    for particle in objects:
        if particle.name in curves:
            _, precision, recall = curves[particle.name]
            axes.plot(
                recall[::-1], precision[::-1], color=object_color(particle), label=particle.name, drawstyle="steps-pre"
            )
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, target)
    return "Precision against recall as the score threshold falls, left to right."


def plot_thresholds(
    table: pd.DataFrame,
    objects: Sequence[ParticleObject],
    target: Target,
    *,
    beta: float = 4,
    thresholds: Mapping[str, float] | None = None,
) -> str:
    """Draw F-beta against the score threshold for each object.

    Args:
        table: columns object, threshold, f_beta, as `tomopick.curves.threshold_curve` gives it.
        objects: the objects to draw.
        target: path or binary file for the PNG.
        beta: for the label.
        thresholds: the thresholds in use; each is marked by a dotted line of its object's colour.
    """
    figure, axes = one_axes(7.5, 4.2)
    for particle in objects:
        part = table[table["object"] == particle.name]
        if len(part):
            color = object_color(particle)
            axes.plot(part["threshold"], part["f_beta"], color=color, label=particle.name, drawstyle="steps-pre")
            if particle.name in (thresholds or {}):
                axes.axvline((thresholds or {})[particle.name], color=color, linestyle="dotted", linewidth=1.2)
    axes.set(xlabel="score threshold", ylabel=f"F{beta:g}", ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, target)
    marked = " Dotted: the thresholds in use." if thresholds else ""
    return f"F{beta:g} of the picks whose score is at least the threshold.{marked}"


def plot_reliability(tables: Mapping[str, pd.DataFrame], objects: Sequence[ParticleObject], target: Target) -> str:
    """Draw the share of right picks against their score, and below it how many picks there are.

    Args:
        tables: by object name, and "all" for all objects together, as `tomopick.reliability.reliability_tables` gives
            them; those of objects that are not in ``objects`` are not drawn.
        objects: the objects to draw.
        target: path or binary file for the PNG.

    Returns:
        The caption, with the expected calibration error of "all".

    Raises:
        DataError: there are no picks to draw.
    """
    if "all" not in tables or tables["all"].empty:
        raise DataError("there are no picks to judge the scores by; give picks in annotated tomograms")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 5.8), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="dashed")
    colors = {o.name: object_color(o) for o in objects} | {"all": (0.0, 0.0, 0.0, 1.0)}
    drawn = {name: tables[name] for name in colors if name in tables}
    for name, table in drawn.items():
        label, width = f"{name} ({error_of_table(table):.3f})", 2.2 if name == "all" else 1.1
        line = {"color": colors[name], "linewidth": width, "marker": "o", "markersize": 3}
        axes.plot(table["mean score"], table["share right"], label=label, **line)
    parts = {name: table for name, table in drawn.items() if name != "all"} or drawn
    below.hist(
        [t["mean score"] for t in parts.values()],
        bins=np.linspace(0, 1, 21),
        weights=[t["count"] for t in parts.values()],
        color=[colors[name] for name in parts],
        stacked=True,
    )
    for part in (axes, below):
        _plain(part)
    axes.set(ylabel="share of picks that are right", ylim=(-0.02, 1.02))
    below.set(xlabel="score", ylabel="picks", xlim=(0, 1), ylim=(0, None))
    axes.legend(frameon=False, fontsize=8, title="expected calibration error", title_fontsize=8)
    save_figure(figure, target)
    whole = tables["all"]
    return (
        "Of the picks of a score, how many are right; on the dashed line scores are probabilities. Expected "
        f"calibration error {error_of_table(whole):.3f} over {int(whole['count'].sum())} picks "
        f"(bins of equal count: {len(whole)}). Below: how many picks have that score, each bin's at its mean."
    )
