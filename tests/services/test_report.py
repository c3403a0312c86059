import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic_run as synthetic

from contracts.errors import UserError
from contracts.types import Objective
from services.records import JUDGE_SCORES, ExampleRecord, RolloutRecord, StepTiming
from services.report import write_report
from services.report.charts import MOST_POINTS, Chart, Curve, draw, smoothed, thin
from services.report.curves import held_out, training
from services.report.judging import judge_rows, reliability_chart
from services.report.page import LONGEST_TEXT, chosen_rollouts, example_pairs, shortened
from services.report.wording import JUDGE_FIGURES, change, duration, findings, moved, per_cent
from services.run_folder import RunFolder, read_run
from services.statistics import Score

VOID = {"meta", "br", "hr", "img", "link", "input"}
EVIL = "</pre></style><script>alert('x')</script> & \"quoted\" <b onclick=x>"


class Page(HTMLParser):
    """Reads a page: its tags in balance, its ids, its attributes, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [], "a tag was never closed"

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids.update(value for name, value in attrs if name == "id")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids.update(value for name, value in attrs if name == "id")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.make_run(tmp_path_factory.mktemp("runs") / "demo", steps=60)


@pytest.fixture(scope="module")
def html(demo: Path) -> str:
    path = write_report(demo)
    assert path == demo / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_is_well_formed_and_needs_no_other_file(html: str, page: Page) -> None:
    assert page.tags["html"] == page.tags["main"] == 1
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == page.tags["iframe"] == 0
    assert "://" not in html
    assert "@import" not in html
    references = [v for name, v in page.attributes if name in ("href", "src", "xlink:href")]
    assert all(reference.startswith("#") for reference in references)
    targets = [*references, *(f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", html))]
    assert {target[1:] for target in targets} <= set(page.ids)
    assert max(page.ids.values()) == 1, "an id occurs twice"


def test_scores_are_those_of_the_summary(demo: Path, page: Page) -> None:
    summary = read_run(demo).summary
    assert summary is not None and summary.before and summary.after and summary.after_greedy
    for scores in (summary.before, summary.after, summary.after_greedy):
        for score in scores.values():
            assert score.value is not None and score.low is not None and score.high is not None
            assert per_cent(score.value) in page.text
            assert f"{100 * score.low:.1f}–{100 * score.high:.1f}" in page.text


def test_the_page_says_what_was_run(page: Page) -> None:
    for words in (
        "demo",
        "finished",
        "300,160 parameters",
        "6 min 12 s",
        "made it sloppy on purpose",
        "learning_rate: 0.0003",
        "deepspeed",
        "0.19.8",
        "Up: solving (",
    ):
        assert words in page.text, words
    assert page.tags["svg"] >= 15


def test_how_far_the_judge_can_be_relied_on_is_there_for_both_sets(demo: Path, page: Page) -> None:
    sampled = [e for e in read_run(demo).evaluations if e.mode == "sampled"]
    rows = judge_rows((sampled[0], sampled[-1]))
    assert [row.title for row in rows] == [title for title, _ in JUDGE_FIGURES.values()]
    headings = ["fixed set, before", "fixed set, after", "its own answers, before"]
    assert [heading for heading, _ in rows[0].cells][:3] == headings
    for evaluation in (sampled[0], sampled[-1]):
        for record in evaluation.judge.values():
            for name in (*JUDGE_SCORES, "calibration_error"):
                found = getattr(record, name)
                value = found.value if isinstance(found, Score) else found
                if value is not None:
                    assert per_cent(value) in page.text, name
    assert "Reliability of repeated verdicts" in page.text


def test_reliability_is_drawn_bin_by_bin_with_intervals(demo: Path) -> None:
    last = [e for e in read_run(demo).evaluations if e.mode == "sampled"][-1]
    record = last.judge["fixed"]
    (curve,) = reliability_chart([("after", "#000000", record)]).curves
    assert curve.x == tuple(one.confidence for one in record.reliability)
    assert curve.y == tuple(one.accuracy.value for one in record.reliability)
    assert curve.low == tuple(one.accuracy.low for one in record.reliability)
    assert reliability_chart([("own", "#000000", last.judge["own"])]).is_empty


def test_a_run_of_before_judging_was_measured_has_no_such_section(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "old", "")
    found = synthetic.evaluation(np.random.default_rng(0), 0, 0.0, "sampled", 64)
    folder.append_evaluation(found.model_copy(update={"judge": {}}))
    assert "relied on" not in write_report(folder.path).read_text(encoding="utf-8")


def test_charts_have_labelled_axes(html: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL):
        texts = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
        assert {"step", "share of yes among the verdicts"} & set(texts), texts
        assert len([text for text in texts if re.search(r"[a-z]{4}", text)]) >= 2, texts


def test_examples_stand_side_by_side_with_their_marks(demo: Path, page: Page) -> None:
    run = read_run(demo)
    pairs = example_pairs(run.examples)
    assert list(pairs) == ["solve", "judge one (pointwise)", "judge two (pairwise)", "reflect"]
    for of_objective in pairs.values():
        for pair in of_objective:
            assert pair.before is not None and pair.after is not None
            assert pair.before.prompt_id == pair.after.prompt_id
    right = sum(example.correct for example in run.examples)
    assert page.text.count("✓ right") == right
    assert page.text.count("✗ wrong") == len(run.examples) - right


def test_what_the_model_wrote_is_text_never_markup(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", EVIL)
    base = synthetic.examples("before", each=1)[0]
    texts = {"prompt": EVIL, "completion": EVIL, "label": EVIL, "extracted": EVIL}
    folder.append_examples([ExampleRecord.model_validate(base.model_dump() | texts)])
    rollout = synthetic.rollouts(1)[0]
    folder.append_rollouts([RolloutRecord.model_validate(rollout.model_dump() | texts)])
    html = write_report(folder.path).read_text(encoding="utf-8")
    page = Page(html)
    assert page.tags["script"] == 0
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.text.count(EVIL) == 9
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_an_interrupted_run_has_a_report_that_says_so(tmp_path: Path) -> None:
    path = synthetic.make_run(tmp_path / "cut", steps=30, status="interrupted")
    page = Page(write_report(path).read_text(encoding="utf-8"))
    assert "interrupted" in page.text
    assert "“After” is its last evaluation, after step 25" in page.text
    assert "not there" in page.text


def test_a_killed_run_has_a_report(tmp_path: Path) -> None:
    path = synthetic.make_run(tmp_path / "killed", steps=3)
    (path / "summary.json").unlink()
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"accuracy": {"so')
    page = Page(write_report(path).read_text(encoding="utf-8"))
    assert "cut off" in page.text
    assert "metrics.jsonl: the last line was cut off" in page.text


def test_a_run_that_never_began_has_a_report(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "empty", "name: empty\n")
    page = Page(write_report(folder.path).read_text(encoding="utf-8"))
    assert "Nothing was evaluated." in page.text
    assert "name: empty" in page.text
    assert page.tags["svg"] == 0


def test_a_diverged_run_has_a_report(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "diverged", "")
    draw_numbers = np.random.default_rng(0)
    for step in (1, 2, 3):
        metrics = synthetic.metrics(draw_numbers, step, 3)
        assert metrics.update is not None
        broken = metrics.update.model_copy(update={"gradient_norm": float("nan")})
        lost = {"update": broken if step < 3 else None, "reward": {Objective.SOLVE: float("nan")}}
        folder.append_metrics(metrics.model_copy(update=lost))
        folder.append_timing(StepTiming(step=step, seconds=1.0, tokens_per_second=float("inf")))
    html = write_report(folder.path).read_text(encoding="utf-8")
    titles = {chart.title for chart in training(read_run(folder.path))}
    assert "Gradient norm" not in titles
    assert "Entropy" in titles
    assert "nan" not in Page(html).text.lower()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_long_run_with_long_texts_stays_under_3_mb(tmp_path: Path) -> None:
    path = synthetic.make_run(tmp_path / "long", steps=1000)
    folder = RunFolder(path)
    long = {"prompt": "p" * 200_000, "completion": "c" * 200_000}
    rollouts = [r.model_copy(update=long) for r in synthetic.rollouts(1000) * 20]
    folder.append_rollouts(rollouts)
    examples = [e.model_copy(update=long) for e in synthetic.examples("after", each=40)]
    folder.append_examples(examples)
    assert write_report(path).stat().st_size < 3_000_000


def test_the_same_folder_gives_the_same_page(demo: Path, html: str) -> None:
    assert write_report(demo).read_text(encoding="utf-8") == html


def test_several_runs_share_the_charts_of_held_out_scores(tmp_path: Path) -> None:
    runs = [
        read_run(synthetic.make_run(tmp_path / name, steps=5, seed=seed))
        for seed, name in enumerate(("with-recycling", "without"))
    ]
    solving = held_out(runs)[0]
    assert [curve.label for curve in solving.curves] == ["with-recycling", "without"]
    assert len({curve.colour for curve in solving.curves}) == 2
    assert solving.curves[0].x == (0.0, 5.0)
    first = runs[0].evaluations[0].scores["policy_accuracy"]
    assert (solving.curves[0].y[0], solving.curves[0].low[0]) == (first.value, first.low)


def test_rollouts_are_chosen_from_start_middle_and_end() -> None:
    rollouts = [rollout for step in range(1, 102) for rollout in synthetic.rollouts(step)]
    assert list(chosen_rollouts(rollouts)) == [1, 51, 101]
    assert list(chosen_rollouts(synthetic.rollouts(7))) == [7]
    assert chosen_rollouts([]) == {}


def test_a_reference_has_a_chart_only_where_there_is_one(demo: Path) -> None:
    assert "KL to the initial model" not in {chart.title for chart in training(read_run(demo))}


def test_reasons_without_an_answer_are_shares_of_all_completions(demo: Path) -> None:
    chart = next(c for c in training(read_run(demo)) if c.id == "ungraded")
    assert chart.curves[0].y[0] == pytest.approx(8 / 512)
    assert len(chart.curves) == 2


def test_thinning_keeps_the_mean_and_the_ends_in_reach() -> None:
    x = [float(i) for i in range(10_000)]
    thin_x, thin_y = thin(x, [2 * value for value in x])
    assert len(thin_x) == len(thin_y) == MOST_POINTS
    assert np.mean(thin_y) == pytest.approx(9999.0)
    assert thin_y == [2 * value for value in thin_x]
    assert thin([1.0, 2.0], [3.0, 4.0]) == ([1.0, 2.0], [3.0, 4.0])


def test_smoothing_neither_shifts_a_step_nor_changes_a_constant() -> None:
    assert smoothed([0.5] * 40) == pytest.approx([0.5] * 40)
    step = smoothed([0.0] * 100 + [1.0] * 100)
    assert step[99] + step[100] == pytest.approx(1.0)
    assert step[50] == pytest.approx(0.0, abs=1e-6)


def test_a_title_cannot_break_out_of_the_picture() -> None:
    curve = Curve("a", (0.0, 1.0), (0.0, 1.0), "#000000")
    svg = draw(Chart("x", 'A "title" & <more>', "step", "value", (curve,)))
    assert 'aria-label="A &quot;title&quot; &amp; &lt;more>"' in svg
    assert "http" not in svg


def test_only_intervals_apart_count_as_a_change() -> None:
    low, middle, high = Score(0.2, 0.1, 0.3, 9), Score(0.35, 0.25, 0.45, 9), Score(0.6, 0.5, 0.7, 9)
    assert (moved(low, high), moved(high, low), moved(low, middle)) == ("rose", "fell", "unclear")
    assert (change(low, high), change(high, low), change(None, low)) == ("+40.0", "−40.0", "")
    before = {"policy_accuracy": low, "judge_accuracy": high, "pairwise_accuracy": low}
    after = {"policy_accuracy": high, "judge_accuracy": low, "pairwise_accuracy": middle}
    space = "\N{NO-BREAK SPACE}"
    assert [sentence.replace(space, " ") for sentence in findings(before, after)] == [
        "Up: solving (20.0 % to 60.0 %).",
        "Down: judging one answer (60.0 % to 20.0 %).",
        "No change beyond the 95 % intervals: judging two answers (20.0 % to 35.0 %).",
    ]
    assert findings({"policy_accuracy": Score.nothing()}, after) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(41.3, "41 s"), (59.7, "1 min 00 s"), (372.4, "6 min 12 s"), (3725, "1 h 02 min")],
)
def test_durations_are_written_for_people(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_long_texts_keep_their_ends() -> None:
    text = "a" * LONGEST_TEXT + "end"
    assert shortened(text).endswith("end")
    assert "3 characters left out" in shortened(text)
    assert shortened("short") == "short"
