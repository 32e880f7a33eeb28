import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.measure.statistics import result_rows
from satisfice.measure.subject import Subject, subject_of, subjects_in
from satisfice.report.page import embed_json, write_report
from satisfice.report.reader import PROBLEMS_PER_TASK, choose, lay_out, pack, read_run
from satisfice.report.samples import FULL, compare_stops, cumulate, read_outcome
from satisfice.report.words import headlines, percent, points, settling, short_of_claim, shorten

Run = tuple[dict[str, Any], list[dict[str, Any]]]


class Page(HTMLParser):
    """The elements of a page, and the text of the table cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[tuple[str, str], list[str]] = {}
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._task = ""
        self._row: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self._task, self._row = found.get("data-task") or "", None
        if tag == "tr" and self._task:
            self._row = self.rows.setdefault((self._task, found.get("data-policy") or ""), [])
        if tag in ("td", "th") and self._row is not None:
            self._row.append("")
        if tag == "small" and self._row:
            self._row[-1] += " | "
        if tag == "script":
            self.scripts.append((found, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("tr", "table"):
            self._row = None

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._row:
            self._row[-1] += data.strip()


def test_the_page_loads_nothing_and_runs_only_its_own_scripts(page: Path) -> None:
    html = page.read_text("utf-8")
    found = Page(html)
    for tag, attributes in found.tags:
        assert not {"src", "href", "srcset", "action", "data", "background"} & set(attributes), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert tag not in {"img", "link", "iframe", "object", "embed", "base"}
    policy = next(a["content"] for _, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'sha256-" in policy
    assert len(found.scripts) == 4  # two of data, the chart runtime, ours: the hostile ones did not become elements


def test_hostile_text_survives_as_text(page: Path, hostile: str) -> None:
    found = Page(page.read_text("utf-8"))
    chains = json.loads(next(text for attributes, text in found.scripts if attributes.get("id") == "chains"))
    problem = next(problem for problem in chains["problems"] if problem["id"] == "p3")
    assert problem["question"] == "31 + 18" + hostile
    texts = "".join(piece.get("text", "") for piece in problem["runs"][FULL]["pieces"])
    assert hostile in texts


@pytest.mark.parametrize("field", ["accuracy", "spent", "kept", "probe", "saving", "delta_accuracy"])
def test_the_table_says_what_results_json_says(field: str, page: Path, recorded: Run) -> None:
    column = {"accuracy": 1, "spent": 2, "kept": 3, "probe": 4, "saving": 6, "delta_accuracy": 7}[field]
    form = {"saving": percent, "accuracy": percent, "delta_accuracy": points}.get(field, lambda value: f"{value:.1f}")
    found = Page(page.read_text("utf-8"))
    for row in recorded[0]["rows"]:
        cells = found.rows[row["task"], row["policy"]]
        if row["policy"] == FULL and field in ("saving", "delta_accuracy"):
            assert cells[column] == "–"
            continue
        value, _, interval = cells[column].partition(" | ")
        assert value == form(row[field])
        if f"{field}_low" in row:
            assert interval == f"{form(row[f'{field}_low'])} to {form(row[f'{field}_high'])}"
        assert cells[9] == row["verdict"]
        assert cells[-1] == str(row["n"])


def test_the_picture_is_a_png_of_some_size(page: Path) -> None:
    png = (page.parent / "frontier.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    assert width > 1000
    assert height > 500


def test_a_run_that_only_began_has_a_report_too(tmp_path: Path, recorded: Run) -> None:
    pytest.importorskip("altair", reason="the report extra is not installed")
    results, samples = recorded
    write_report(tmp_path, {**results, "environment": {}, "rows": []}, [])
    assert "not finished" in (tmp_path / "report.html").read_text("utf-8")
    few = [sample for sample in samples if sample["policy"] == "deer"][:1]  # no `full`, no pair, no interval
    rows = result_rows(few, subjects=subjects_in(results["config"]), tasks=[few[0]["task"]])
    write_report(tmp_path, {**results, "rows": rows}, few)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "no baseline" in html
    assert "the run has no <code>full</code>" in html


def test_only_the_verdict_saves_makes_a_claim(recorded: Run) -> None:
    rows = recorded[0]["rows"]
    labels = {subject_of(row): row["policy"] for row in rows}
    assert all(not part["saves"] for part in headlines(rows, labels))  # 10 problems can never support a claim
    claimed = [{**row, "verdict": "saves"} if row["policy"] == "deer" else row for row in rows]
    part = headlines(claimed, labels)[0]
    row = next(row for row in rows if row["policy"] == "deer" and row["task"] == part["task"])
    assert [claim["label"] for claim in part["saves"]] == ["deer"]
    assert part["saves"][0]["saving"] == percent(row["saving"])
    assert part["saves"][0]["delta_low"] == points(row["delta_accuracy_low"])


@pytest.mark.parametrize(
    ("model", "n", "small"), [("pocket", 1999, True), ("pocket", 2000, False), ("r1", 1500, False)]
)
def test_a_run_too_small_for_a_claim_says_so(model: str, n: int, small: bool) -> None:
    plain = {
        "errors": 0,
        "n": 5000,
        "judged": n,
        "pairs": n,
        "paired": n,
    }  # what counts is how many are paired and judged
    rows = [
        {"policy": FULL, "is_baseline": True} | plain,
        {"policy": "a", "is_baseline": False, "delta_accuracy_low": -0.01, "delta_accuracy_high": 0.03} | plain,
    ]
    found = short_of_claim({"config": {"models": [model]}}, rows)
    assert (found is not None) is small
    if found is not None:
        assert found["width"] == "2.0"


def test_stops_are_paired_by_problem_and_seed() -> None:
    def one(policy: str, problem: str, thinking: int, first: int | None) -> Any:
        row = {"policy": policy, "task": "t", "problem": problem, "seed": 0, "verdict": "right", "answer": "1"}
        return read_outcome(
            row | {"error": "", "truncated": False, "spent": 9, "thinking_tokens": thinking, "first_right": first}
        )

    full = [one(FULL, "a", 50, 20), one(FULL, "b", 60, 30), one(FULL, "c", 70, None), one(FULL, "d", 80, 40)]
    rule = [one("deer", "a", 25, 20), one("deer", "b", 10, None), one("deer", "c", 30, None), one("deer", "d", 55, 40)]
    (found,) = compare_stops([*rule, *full, one("deer", "e", 1, 1)], "t", [Subject("", "deer")])  # e has no partner
    assert found.pairs == 4
    assert found.too_soon == pytest.approx(1 / 3)  # b, of the three that state a right answer
    assert found.after == 10  # median of 25 - 20 and 55 - 40
    assert found.never == 0.25
    assert found.first_right == (20, 30, 40)


def test_a_policy_far_below_does_not_press_the_others_together(recorded: Run) -> None:
    charts = pytest.importorskip("satisfice.report.charts", reason="the report extra is not installed")
    rows = [dict(row) for row in recorded[0]["rows"] if row["task"] == "chain-sum:easy@1"]
    for row in rows:
        row.update({"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.95})
    rows[1].update({"accuracy": 0.04, "accuracy_low": 0.0, "accuracy_high": 0.1})
    labels = {subject_of(row): row["policy"] for row in rows}
    spec = charts.frontier(rows, labels, charts.Marks(list(labels))).to_dict()
    (domain,) = {tuple(found["scale"]["domain"]) for found in _values(spec, "y") if "domain" in found.get("scale", {})}
    assert domain == pytest.approx((0.82, 0.98))
    points = {point["policy"]: point for found in _values(spec, "values") for point in found}
    assert points[rows[1]["policy"]]["label"].endswith("↓ 4%")
    assert points[rows[1]["policy"]]["accuracy"] == pytest.approx(0.82)
    assert points[rows[0]["policy"]]["accuracy"] == 0.9


def _values(tree: Any, name: str) -> list[Any]:
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    here = [tree[name]] if isinstance(tree, dict) and name in tree else []
    return here + [value for child in inner for value in _values(child, name)]


def test_gains_are_against_the_line_through_caps_and_full(recorded: Run) -> None:
    rows = {row["policy"]: row for row in recorded[0]["rows"] if row["task"] == "chain-sum:hard@1"}
    assert rows["self-consistency(n=3)"]["gain_over_cap"] is None  # three chains spend more than any cap and `full`
    cap, full, deer = rows["fixed-budget(tokens=12)"], rows[FULL], rows["deer"]
    share = (deer["spent"] - cap["spent"]) / (full["spent"] - cap["spent"])
    line = cap["accuracy"] + share * (full["accuracy"] - cap["accuracy"])
    assert deer["gain_over_cap"] == pytest.approx(deer["accuracy"] - line)


def test_a_cross_table_groups_by_model_and_compares_with_the_first(tmp_path: Path, recorded: Run) -> None:
    pytest.importorskip("altair", reason="the report extra is not installed")
    results, samples = recorded
    both = [*samples, *({**sample, "model": "runs/short/model"} for sample in samples)]
    config = results["config"] | {"models": ["scripted", "runs/short/model"]}
    subjects = subjects_in(config)
    rows = result_rows(both, subjects=subjects, tasks=config["tasks"])
    assert [row["is_baseline"] for row in rows].count(True) == len(config["tasks"])
    assert {row["pairs"] for row in rows} == {20}  # all against `full` of the first model
    write_report(tmp_path, {**results, "config": config, "rows": rows}, both)
    html = (tmp_path / "report.html").read_text("utf-8")
    found = Page(html)
    names = [attributes["data-subject"] for _, attributes in found.tags if "data-subject" in attributes]
    assert names[:2] == ["scripted: full", "scripted: cap:12"]
    assert "model: deer" in names
    assert html.count('<tr class="group">') == 2 * len(config["tasks"])
    chains = json.loads(next(text for attributes, text in found.scripts if attributes.get("id") == "chains"))
    assert chains["full"]["model: deer"] == "model: full"
    assert set(chains["problems"][0]["runs"]) == set(chains["subjects"])


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=400))
def test_a_cumulative_share_rises_to_the_share_of_all(values: list[int]) -> None:
    steps = cumulate(values, 2 * len(values), points=50)
    assert len(steps) <= 51
    assert steps == sorted(steps)
    assert steps[-1] == (max(values), 0.5)
    for x, y in steps[1:]:
        assert y == pytest.approx(sum(value <= x for value in values) / (2 * len(values)))


ANYTHING = st.recursive(
    st.text() | st.floats() | st.none(),
    lambda inner: st.dictionaries(st.text(), inner, max_size=3) | st.lists(inner, max_size=3),
)


@given(ANYTHING)
def test_embedded_json_cannot_end_its_element_and_reads_back(value: Any) -> None:
    text = embed_json({"value": value})
    assert not re.search("[<>&]", text)
    back = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert embed_json(back) == text


def test_every_character_of_a_chain_is_shown_once_and_in_order(
    recorded: Run,
) -> None:
    for sample in recorded[1]:
        pieces = lay_out(sample)
        shown = "".join(piece["text"] for piece in pieces if piece["kind"] in ("sampled", "injected"))
        assert shown == "".join(span["text"] for span in sample["spans"])
        looks = [piece for piece in pieces if piece["kind"] == "look"]
        assert sum(piece["tokens"] for piece in looks) == sample["probe"]


def test_a_look_stands_before_its_cue_with_what_was_asked_and_said(
    recorded: Run,
) -> None:
    seen = 0
    for sample in recorded[1]:
        if sample["policy"] != "deer" or sample["problem"] == "p3":
            continue
        pieces = lay_out(sample)
        for i, piece in enumerate(pieces):
            if piece["kind"] != "look":
                continue
            seen += 1
            assert piece["asked"] == "</think>"
            assert re.fullmatch(r"-?\d+", piece["said"])
            assert piece["threshold"] == "0.95"
            assert piece["stop"] == (float(piece["value"]) > 0.95)
            after = next(p for p in pieces[i:] if p["kind"] in ("sampled", "injected"))
            if piece["stop"]:
                assert after == {"kind": "injected", "text": "</think>"}
            else:
                assert after["text"].startswith("Wait")
    assert seen > 20


def test_the_first_right_answer_is_marked_where_it_is_written(
    recorded: Run,
) -> None:
    marked = 0
    for sample in recorded[1]:
        if sample["policy"] != FULL or sample["first_right"] is None or sample["problem"] == "p3":
            continue
        pieces = lay_out(sample)
        place = next(i for i, piece in enumerate(pieces) if piece["kind"] == "first")
        before = "".join(piece["text"] for piece in pieces[:place])
        assert before.endswith(f"so {sample['gold']}")
        assert before.count(f"so {sample['gold']}") == 1
        marked += 1
    assert marked > 10


def test_losing_chains_are_named_with_their_tokens(recorded: Run) -> None:
    for sample in recorded[1]:
        if sample["policy"].startswith("self-consistency"):
            others = read_run(sample)["others"]
            assert len(others) == 2
            assert sum(other["tokens"] for other in others) == sample["dropped"]


def test_the_choice_of_problems_is_stable_and_has_what_a_rule_lost(
    recorded: Run,
) -> None:
    outcomes = [read_outcome(sample) for sample in recorded[1]]
    subjects = list(dict.fromkeys(one.subject for one in outcomes))
    task = "chain-sum:hard@1"
    chosen = choose(outcomes, task, subjects, 8)
    assert len(chosen) == len(set(chosen)) == 8
    assert choose(outcomes[::-1], task, subjects, 8) == chosen
    full = {one.key: one.verdict for one in outcomes if one.subject.policy == FULL}
    for subject in subjects:
        wrong = {one.key for one in outcomes if (one.subject, one.task, one.verdict) == (subject, task, "wrong")}
        lost = {key for key in wrong if full[key] == "right"}
        assert not lost or lost & set(chosen), subject
    assert len(choose(outcomes, task, subjects, PROBLEMS_PER_TASK)) == 20  # all there are: 10 problems, 2 seeds


def test_long_chains_are_left_out_rather_than_making_the_file_huge(
    recorded: Run,
) -> None:
    samples = [dict(sample) for sample in recorded[1]]
    outcomes = [read_outcome(sample) for sample in samples]
    full = Subject("scripted", FULL)
    wanted = {task: choose(outcomes, task, [full], 10) for task in ("chain-sum:easy@1", "chain-sum:hard@1")}
    everything = pack(samples, wanted, {full: FULL})
    budget = len(json.dumps([problem["runs"] for problem in everything["problems"]])) // 2
    some = pack(samples, wanted, {full: FULL}, budget=budget)
    assert 2 <= len(some["problems"]) < len(everything["problems"]) == 20
    assert {problem["task"] for problem in some["problems"]} == set(wanted)


def row_of(**changes: Any) -> dict[str, Any]:
    row = {
        "policy": "deer", "task": "t@1", "n": 200, "accuracy": 0.8, "spent": 50.0, "saving": 0.65, "saving_low": 0.6,
        "saving_high": 0.7, "delta_accuracy": -0.01, "delta_accuracy_low": -0.03, "delta_accuracy_high": 0.0,
        "margin": 0.02, "verdict": "no claim", "errors": 0, "model": "m", "sampler": "",
    }  # fmt: skip
    return row | {"is_baseline": changes.get("policy") == FULL} | changes


def named(**names: str) -> dict[Subject, str]:
    return {Subject("m", policy): name for policy, name in names.items()}


def test_what_is_undecided_is_given_with_its_figures_and_with_what_would_settle_it() -> None:
    full = row_of(policy=FULL, verdict="baseline", spent=140.0)
    (part,) = headlines([full, row_of()], named(full=FULL, deer="deer:0.9"))
    (one,) = part["open"]
    assert one["label"] == "deer:0.9"
    assert (one["saving"], one["delta"], one["delta_low"], one["delta_high"]) == ("65.0 %", "−1.0", "−3.0", "0.0")
    assert (
        one["outlook"] == "a few more problems would settle it"
    )  # -1.0 (-2.0 to 0.0) after four times as many; or worse
    (part,) = headlines([full, row_of(delta_accuracy_high=0.01)], named(full=FULL, deer="deer"))
    assert part["open"][0]["outlook"] == "about 800 problems would settle it"
    (part,) = headlines([row_of(policy=FULL, accuracy=0), row_of()], named(full=FULL, deer="deer"))
    assert "never right" in part["open"][0]["outlook"]


@given(
    st.floats(-0.2, 0.2), st.floats(0.001, 0.3), st.floats(0.001, 0.3), st.integers(10, 5000),
)  # fmt: skip
def test_so_many_problems_do_settle_it(change: float, below: float, above: float, n: int) -> None:
    row = row_of(n=n, delta_accuracy=change, delta_accuracy_low=change - below, delta_accuracy_high=change + above)
    needed = settling(row)
    if needed is None:
        assert change <= -0.02
        assert change >= 0
        return
    assert needed >= n
    if needed == 1_000_000:  # so many or more: told as more than a hundred thousand
        return
    narrow = (n / needed) ** 0.5
    assert change - below * narrow >= -0.02 - 1e-9 or change + above * narrow <= 1e-9


def test_names_for_charts_are_short_and_all_different() -> None:
    labels = {
        "a": "deer(threshold=0.97, reuse_answer=true)", "b": "deer(threshold=0.9, reuse_answer=true)", "c": "deer",
        "d": 'lynx(artefact="runs/one/very/long/path/lynx-a.json")',
        "e": 'lynx(artefact="runs/one/very/long/path/lynx-b.json")', "f": "cap:96",
    }  # fmt: skip
    short = shorten(labels)
    assert (short["a"], short["b"], short["c"], short["f"]) == (
        "deer(threshold=0.97)", "deer(threshold=0.9)", "deer", "cap:96",
    )  # fmt: skip
    assert len(set(short.values())) == len(labels)
    assert all(len(text) <= 24 for text in short.values())


@given(st.lists(st.text("ab(,=)", max_size=40), unique=True, max_size=30))
def test_any_names_become_short_and_different(texts: list[str]) -> None:
    short = shorten({str(i): text for i, text in enumerate(texts)})
    assert len(set(short.values())) == len(texts)
    assert all(len(text) <= 24 for text in short.values())


def test_the_report_calls_a_policy_as_it_was_typed(recorded: Run, tmp_path: Path) -> None:
    results, samples = recorded
    typed = {"environment": {**results["environment"], "typed": {"deer": "deer:0.95"}}}
    write_report(tmp_path, {**results, **typed}, samples)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert '<th scope="row"><code>deer:0.95</code>' in html
    assert '<th scope="row"><code>cap:12</code>' in html
