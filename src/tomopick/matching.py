"""Which picks lie near which true particles: the matching of the CZII challenge, a confusion table, hits and misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.objects import ParticleObject, check_objects
from tomopick.picks import Picks

__all__ = ["MISSED", "NOTHING", "Match", "classify_picks", "confusion", "keep_above", "match", "match_all"]

NOTHING = "nothing"
"""Row of the confusion table for picks that lie on no particle."""

MISSED = "missed"
"""Column of the confusion table for particles that have no pick."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """Candidates of one object in one run against its reference points.

    Attributes:
        scores: score of each candidate, (candidates,).
        best: highest score of the candidates within the match distance of each reference, -inf where there is none,
            (references,).
        nearest: index of the nearest candidate within the match distance, -1 where there is none, (references,).
        distance: its distance in Angstrom, inf where there is none, (references,).
    """

    scores: Floats
    best: Floats
    nearest: NDArray[np.int64]
    distance: Floats

    @property
    def counts(self) -> tuple[int, int, int]:
        """TP (references hit), FP (candidates - TP, which can be negative) and FN, as in the CZII challenge."""
        tp = int((self.nearest >= 0).sum())
        return tp, len(self.scores) - tp, len(self.best) - tp


def _near(reference_xyz: Floats, candidate_xyz: Floats, distance: float) -> tuple[NDArray[np.int64], ...]:
    """Every (reference, candidate) pair at most ``distance`` apart, with its distance."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(reference_xyz).sparse_distance_matrix(cKDTree(candidate_xyz), distance, output_type="ndarray")
    return pairs["i"].astype(np.int64), pairs["j"].astype(np.int64), pairs["v"]


def match(candidate_xyz: Floats, scores: Floats, reference_xyz: Floats, distance: float) -> Match:
    """Match candidates (n, 3) with scores (n,) to references (m, 3), xyz in Angstrom; the distance is inclusive.

    There is no one-to-one assignment: a candidate near two references hits both.
    """
    best = np.full(len(reference_xyz), -np.inf)
    nearest = np.full(len(reference_xyz), -1, dtype=np.int64)
    apart = np.full(len(reference_xyz), np.inf)
    i, j, d = _near(reference_xyz, candidate_xyz, distance)
    np.maximum.at(best, i, scores[j])
    # Worst first: of repeated references the last assignment stands, the nearest (of equals the best scored).
    order = np.lexsort((scores[j], -d))
    nearest[i[order]] = j[order]
    apart[i[order]] = d[order]
    return Match(scores, best, nearest, apart)


def _checked(
    picks: Picks, truth: Picks, objects: Sequence[ParticleObject], runs: Sequence[str] | None
) -> tuple[Picks, Picks, list[str]]:
    """The picks and the truth of these runs (the truth's own where None), after the checks of the CZII score."""
    names = {o.name for o in check_objects(objects)}
    duplicated = truth.table.duplicated(["run", "x", "y", "z"])
    if duplicated.any():
        row = truth.table[duplicated].iloc[0]
        raise DataError(
            f"the truth of run '{row['run']}' has two particles at ({row['x']:g}, {row['y']:g}, {row['z']:g}) A; "
            "remove one of them"
        )
    chosen = sorted(set(truth.runs if runs is None else runs))
    kept = [Picks(p.table[p.table["run"].isin(chosen)]) for p in (picks, truth)]
    for what, part in zip(("picks", "truth"), kept, strict=True):
        unknown = [name for name in part.objects if name not in names]
        if unknown:
            raise DataError(
                f"the {what} have the unknown object '{unknown[0]}'; known: {', '.join(sorted(names))}. "
                "Rename it or add it to the objects (--object NAME=RADIUS)"
            )
    return kept[0], kept[1], chosen


def _rows_by_run_and_object(table: pd.DataFrame) -> list[tuple[tuple[str, str], NDArray[np.int64]]]:
    """Row numbers of the table for each (run, object) that it holds."""
    groups = table.groupby(["run", "object"], sort=False).indices
    return [((str(key[0]), str(key[1])), np.asarray(rows)) for key, rows in groups.items() if isinstance(key, tuple)]


def _grouped(picks: Picks) -> dict[tuple[str, str], tuple[Floats, Floats]]:
    """Coordinates and scores by (run, object)."""
    xyz, scores = picks.xyz(), picks.scores()
    return {key: (xyz[rows], scores[rows]) for key, rows in _rows_by_run_and_object(picks.table)}


def match_all(
    picks: Picks, truth: Picks, objects: Sequence[ParticleObject], runs: Sequence[str] | None = None
) -> dict[str, dict[str, Match]]:
    """Match every object in every run: object name -> run -> match.

    Args:
        runs: the runs that count, with or without true particles; None means the runs of the truth. Picks and truth of
            other runs are dropped.

    Raises:
        DataError: an object that is not among ``objects``, or two true particles at the same place in a run.
    """
    picks, truth, chosen = _checked(picks, truth, objects, runs)
    candidates, references = _grouped(picks), _grouped(truth)
    none = (np.zeros((0, 3)), np.zeros(0))
    return {
        o.name: {
            run: match(*candidates.get((run, o.name), none), references.get((run, o.name), none)[0], o.match_distance)
            for run in chosen
        }
        for o in objects
    }


def keep_above(picks: Picks, thresholds: Mapping[str, float]) -> Picks:
    """The picks whose score is at least the threshold of their object; objects without one keep all their picks."""
    least = picks.table["object"].map(dict(thresholds)).astype(np.float64).fillna(-np.inf)
    return Picks(picks.table[picks.table["score"] >= least])


def classify_picks(
    picks: Picks, truth: Picks, objects: Sequence[ParticleObject], runs: Sequence[str] | None = None
) -> pd.DataFrame:
    """Every pick marked hit or false, every true particle marked found or missed.

    A true particle is found where the CZII score counts a TP. A pick is a hit if it is the nearest one within the match
    distance of some true particle of its object, so that a second pick on the same particle is false.

    Returns:
        A table with the columns kind (pick, truth), run, object, x, y, z (Angstrom), score, state (hit, false, found,
        missed).

    Raises:
        DataError: as `match_all`.
    """
    matches = match_all(picks, truth, objects, runs)
    picks, truth, _ = _checked(picks, truth, objects, runs)
    parts = []
    for kind, source, good, bad in (("pick", picks, "hit", "false"), ("truth", truth, "found", "missed")):
        table = source.table[["run", "object", "x", "y", "z", "score"]].copy()
        marked = np.zeros(len(table), dtype=bool)
        for (run, name), rows in _rows_by_run_and_object(table):
            nearest = matches[name][run].nearest
            if kind == "pick":
                marked[rows[nearest[nearest >= 0]]] = True
            else:
                marked[rows] = nearest >= 0
        table.insert(0, "kind", kind)
        parts.append(table.assign(state=np.where(marked, good, bad)))
    return pd.concat(parts, ignore_index=True)


def _assigned(picks: pd.DataFrame, truth: pd.DataFrame, distances: Mapping[str, float]) -> Iterator[tuple[int, int]]:
    """Greedy one-to-one pairs (row of truth, row of picks) of one run, the nearest pair first."""
    reach = truth["object"].map(dict(distances)).to_numpy(np.float64)
    if reach.size == 0:
        return
    xyz = ["x", "y", "z"]
    i, j, d = _near(truth[xyz].to_numpy(np.float64), picks[xyz].to_numpy(np.float64), float(reach.max()))
    within = d <= reach[i]
    i, j, d = i[within], j[within], d[within]
    same = truth["object"].to_numpy()[i] == picks["object"].to_numpy()[j]
    used_truth: set[int] = set()
    used_picks: set[int] = set()
    for k in np.lexsort((-picks["score"].to_numpy()[j], ~same, d)):
        a, b = int(i[k]), int(j[k])
        if a not in used_truth and b not in used_picks:
            used_truth.add(a)
            used_picks.add(b)
            yield a, b


def confusion(
    picks: Picks, truth: Picks, objects: Sequence[ParticleObject], runs: Sequence[str] | None = None
) -> pd.DataFrame:
    """How often each true object was picked as which.

    True particles and picks of any object are paired one to one, the nearest pair first, within the match distance of
    the true object; of equally near picks one of the right object goes first, then the higher score.

    Returns:
        Counts; rows are the true objects and `NOTHING`, columns the picked objects and `MISSED`.

    Raises:
        DataError: as `match_all`.
    """
    picks, truth, chosen = _checked(picks, truth, objects, runs)
    names = [o.name for o in objects]
    distances = {o.name: o.match_distance for o in objects}
    index = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names) + 1, len(names) + 1), dtype=np.int64)
    for run in chosen:
        found, real = picks.where(run=run).table, truth.where(run=run).table
        picked = found["object"].map(index).to_numpy(np.int64)
        true = real["object"].map(index).to_numpy(np.int64)
        pairs = np.array(list(_assigned(found, real, distances)), dtype=np.int64).reshape(-1, 2)
        np.add.at(counts, (true[pairs[:, 0]], picked[pairs[:, 1]]), 1)
        counts[:-1, -1] += np.bincount(np.delete(true, pairs[:, 0]), minlength=len(names))
        counts[-1, :-1] += np.bincount(np.delete(picked, pairs[:, 1]), minlength=len(names))
    return pd.DataFrame(
        counts,
        index=pd.Index([*names, NOTHING], name="truth"),
        columns=pd.Index([*names, MISSED], name="picked"),
    )
