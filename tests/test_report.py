"""The report: one file that carries everything, says the right numbers and runs nobody's markup."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from tomopick.errors import DataError
from tomopick.evaluation import evaluate
from tomopick.layout import SCRIPT_HASH
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.report import write_report
from tomopick.tomogram import Tomogram

BALL = ParticleObject(name="ball", radius=50, label=1)
CUBE = ParticleObject(name="cube", radius=100, label=2, weight=2)
OBJECTS = (BALL, CUBE)

TRUTH = Picks.join(
    [
        Picks.of("a", "ball", [[100, 100, 50], [200, 200, 50]]),
        Picks.of("a", "cube", [[300, 100, 50]]),
        Picks.of("b", "cube", [[100, 100, 50]]),
    ]
)
PICKS = Picks.join(
    [
        Picks.of("a", "ball", [[105, 100, 50], [300, 300, 50]], [0.9, 0.2]),
        Picks.of("a", "cube", [[300, 110, 50]], 0.8),
        Picks.of("b", "ball", [[100, 110, 50]], 0.7),
    ]
)
MEMORY = pd.DataFrame(
    {
        "name": ["conv", "linear"],
        "parameters_mb": [0.5, 134.0],
        "computed_mb": [33.5, 0.25],
        "measured_mb": [33.625, np.nan],
    }
)
HISTORY = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "val_loss": [2.0, 1.5]})


def tomogram(name: str) -> Tomogram:
    return Tomogram(np.random.default_rng(0).normal(size=(10, 40, 40)), 10.0, name)


class Page(HTMLParser):
    """What a browser would make of the page: tags balanced, headings, text, images, tables cell by cell."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if "style" not in self.open:
            self.text += data

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]

    def row(self, first: str) -> list[str]:
        return next(row for row in self.rows if row[0] == first)


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Page:
    path = write_report(
        tmp_path_factory.mktemp("full") / "report.html",
        title="All of it",
        objects=OBJECTS,
        evaluation=evaluate(PICKS, TRUTH, OBJECTS, thresholds={"ball": 0.5}),
        picks=PICKS,
        truth=TRUTH,
        tomograms=[tomogram("a"), tomogram("elsewhere")],
        histories=[HISTORY],
        memory=MEMORY,
        model_card={"architecture": "cryoet3dcnn", "training": {"epochs": 50}, "objects": ["ball", "cube"]},
        baseline=evaluate(Picks.empty(), TRUTH, OBJECTS),
    )
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_asks_for_nothing_from_outside(full):
    assert not {tag for tag, _ in full.tags} & {"link", "iframe", "object", "base"}
    assert [attributes for tag, attributes in full.tags if tag == "script"] == [{}]
    for _, attributes in full.tags:
        for name in ("src", "href", "srcset", "data"):
            assert (attributes.get(name) or "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    policies = [
        a["content"] for tag, a in full.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == [f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'"]


def test_every_picture_is_a_png_with_words_for_it(full):
    assert len(full.images()) == 11
    for image in full.images():
        assert image["alt"]
        head, data = (image["src"] or "").split(",", 1)
        assert head == "data:image/png;base64"
        assert min(imread(BytesIO(base64.b64decode(data))).shape[:2]) > 100


def test_the_numbers_are_those_of_the_evaluation(full):
    # ball: TP 1, FP 1 (the one of 0.2 is under the threshold), FN 1 -> 17 / 34; cube: TP 1, FN 1 -> 17 / 33.
    score = (17 / 34 + 2 * 17 / 33) / 3
    assert f"{score:.3f} weighted F4 over 2 tomograms" in full.text
    assert "2 of 4 particles were found; 1 of 3 picks are false." in full.text
    assert f"The baseline scores 0.000, {score:.3f} less." in full.text
    header = full.row("object")
    ball = dict(zip(header, full.row("ball"), strict=True))
    assert (ball["particles"], ball["found"], ball["false picks"]) == ("2", "1", "1")
    assert (ball["F4"], ball["threshold"], ball["error (Å)"]) == ("0.500", "0.500", "5.0")
    assert dict(zip(header, full.row("all (weighted)"), strict=True))["F4"] == f"{score:.3f}"


def test_the_confusion_counts_only_picks_over_their_thresholds(full):
    start = next(i for i, row in enumerate(full.rows) if row[0].startswith("true"))
    assert full.rows[start : start + 4] == [
        ["true \\ picked as", "ball", "cube", "missed"],
        ["ball", "1", "\u2013", "1"],
        ["cube", "1", "1", "\u2013"],
        ["nothing", "\u2013", "\u2013", ""],
    ]


def test_the_calibration_error_is_that_of_the_picks(full):
    # four picks in one bin: mean score 0.65, two right; the threshold of the evaluation plays no part
    assert "Expected calibration error 0.150 over 4 picks" in full.text


@pytest.mark.parametrize("scores", [[1.0, 1.0], [0.5, 7.0], [0.01, 0.02]])
def test_scores_that_are_no_probabilities_are_not_judged_as_such(tmp_path, scores):
    picks = Picks.of("a", "ball", [[105, 100, 50], [300, 300, 50]], scores)
    path = write_report(tmp_path / "r.html", title="t", objects=OBJECTS, picks=picks, truth=TRUTH)
    assert "Reliability of scores" not in Page(path.read_text("utf-8")).headings


def test_memory_and_model_card_are_tables(full):
    assert full.row("conv") == ["conv", "0.500", "33.500", "33.625"]
    assert full.row("linear")[-1] == "\u2013"
    assert full.row("training: epochs") == ["training: epochs", "50"]
    assert full.row("objects") == ["objects", "ball, cube"]


def test_picks_in_a_tomogram_without_annotation_are_not_called_false(full):
    assert "a: slices averaged over 5 planes with found, missed and false particles" in full.text
    assert "elsewhere: slices averaged over 5 planes with picks, coloured by object" in full.text


def test_what_is_not_given_is_left_out(tmp_path, full):
    assert full.headings == [
        "Scores by object",
        "Precision and recall",
        "Score against threshold",
        "Reliability of scores",
        "Confusion of objects",
        "Slices",
        "Picks, one by one",
        "Where picks lie",
        "Training",
        "Memory",
        "Model card",
    ]
    only_log = Page(
        write_report(tmp_path / "a.html", title="t", objects=OBJECTS, histories=[HISTORY]).read_text("utf-8")
    )
    assert only_log.headings == ["Training"]
    only_picks = Page(write_report(tmp_path / "b.html", title="t", objects=OBJECTS, picks=PICKS).read_text("utf-8"))
    assert only_picks.headings == ["Picks by tomogram and object"]
    assert only_picks.row("a") == ["a", "2", "1"]
    nothing = Page(
        write_report(tmp_path / "c.html", title="t", objects=OBJECTS, picks=Picks.empty()).read_text("utf-8")
    )
    assert "Nothing was picked." in nothing.text
    curves = Page(
        write_report(tmp_path / "d.html", title="t", objects=OBJECTS, picks=PICKS, truth=TRUTH).read_text("utf-8")
    )
    assert curves.headings == [
        "Precision and recall",
        "Score against threshold",
        "Reliability of scores",
        "Confusion of objects",
    ]


def test_thresholds_that_leave_no_pick_leave_none_in_the_page(tmp_path):
    strict = evaluate(PICKS, TRUTH, OBJECTS, thresholds={"ball": 2, "cube": 2})
    path = write_report(tmp_path / "r.html", title="t", objects=OBJECTS, evaluation=strict, picks=PICKS, truth=TRUTH)
    page = Page(path.read_text("utf-8"))
    assert "0 of 4 particles were found; 0 of 0 picks are false." in page.text
    start = next(i for i, row in enumerate(page.rows) if row[0].startswith("true"))
    assert page.rows[start + 1] == ["ball", "\u2013", "\u2013", "2"]


def test_names_and_titles_are_text_never_markup(tmp_path):
    evil = "<script>alert('x')</script>\"&"
    particle = ParticleObject(name=evil, radius=50)
    truth = Picks.of(evil, evil, [[100, 100, 50]])
    path = write_report(
        tmp_path / "report.html",
        title=evil,
        objects=[particle],
        evaluation=evaluate(truth, truth, [particle]),
        picks=truth,
        truth=truth,
        tomograms=[tomogram(evil)],
        model_card={evil: evil},
    )
    html = path.read_text("utf-8")
    assert html.count("<script") == html.count("<canvas") == 1
    page = Page(html)
    assert page.row(evil)[0] == evil
    assert evil in page.text
    assert any(evil in (image["alt"] or "") for image in page.images())


def test_a_baseline_of_another_kind_is_refused(tmp_path):
    with pytest.raises(DataError, match="another beta"):
        write_report(
            tmp_path / "report.html",
            title="t",
            objects=OBJECTS,
            evaluation=evaluate(PICKS, TRUTH, OBJECTS),
            baseline=evaluate(PICKS, TRUTH, OBJECTS, beta=1),
        )
    assert list(tmp_path.iterdir()) == []
