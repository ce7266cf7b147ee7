"""The tables of the benchmarks, what they take over from earlier runs, and the page that they are written into."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.build import interpreter, mode
from benchmarks.cost_model import Constants
from benchmarks.loads.base import Result
from benchmarks.page import PAGE, with_parts
from benchmarks.predictions import prediction_tables
from benchmarks.report import MEASURES, Results, target_lines
from benchmarks.scraping import parse
from benchmarks.targets import TIMES

ABOUT = {"build": "CPython 3.11; canvas-collab runs compiled", "versions": "Python 3.11"}


def results_of(*cpu: float, problem: str = "") -> Results:
    results = Results(dict(ABOUT), {"canvas-collab": "1", "hocuspocus-4": "4"})
    for value in cpu:
        results.add("many-rooms", "canvas-collab", Result({"cpu_per_delivery": value}, problem=problem))
        results.add("many-rooms", "hocuspocus-4", Result({"cpu_per_delivery": 40.0}))
        results.add("many-rooms", "floor", Result({"cpu_per_delivery": 8.0}))
    return results


def test_the_table_shows_medians_both_ratios_the_target_and_whether_it_is_met() -> None:
    [*_, row] = target_lines(results_of(18.0, 90.0, 17.0).loads)
    assert row == (
        f"| many-rooms | CPU per delivery, µs | 18.0 | 40.0 | 0.45 {TIMES} | 8.00 | 2.25 {TIMES} "
        f"| ≤ 0.5 {TIMES}, ≤ 2.5 {TIMES} floor | met |"
    )
    assert "**missed**" in [*target_lines(results_of(21.0).loads)][-1]
    assert "**missed**" in [*target_lines(results_of(18.0, problem="it failed").loads)][-1]


def test_the_head_says_what_was_measured_and_how_it_was_built() -> None:
    head = [*results_of(18.0).lines()][:6]
    assert "- build: CPython 3.11; canvas-collab runs compiled" in head


def test_runs_of_an_earlier_command_are_taken_over_except_those_that_failed(tmp_path: Path) -> None:
    results_of(18.0, 19.0).write(tmp_path)
    results = Results(dict(ABOUT), {"canvas-collab": "1"})
    results.resume(tmp_path)
    assert [result.measures["cpu_per_delivery"] for result in results.runs["many-rooms"]["canvas-collab"]] == [18, 19]
    assert results.versions == {"canvas-collab": "1", "hocuspocus-4": "4"}
    results_of(18.0, problem="it failed").write(tmp_path)
    results = Results(dict(ABOUT), {})
    results.resume(tmp_path)
    assert "canvas-collab" not in results.runs["many-rooms"]


@pytest.mark.parametrize(("about", "version"), [(ABOUT, "2"), ({"build": "interpreted"}, "1")])
def test_runs_of_other_versions_and_builds_are_refused(about: dict[str, object], version: str, tmp_path: Path) -> None:
    results_of(18.0).write(tmp_path)
    with pytest.raises(ValueError, match="has results of"):
        Results(about, {"canvas-collab": version}).resume(tmp_path)


def test_the_page_has_a_part_for_each_table() -> None:
    model = {"cost-model": {"canvas-collab": Result(Constants(edit=1e-5, room=1.0).measures())}}
    tables = prediction_tables(model)
    page = with_parts(PAGE.read_text(encoding="utf-8"), {"comparison": ["a comparison"], **tables})
    assert "\n\na comparison\n\n" in page
    assert "10.0 µs" in page
    with pytest.raises(ValueError, match="no part 'other'"):
        with_parts(page, {"other": []})


def test_predictions_are_shown_beside_what_was_measured() -> None:
    model = {"cost-model": {"canvas-collab": Result(Constants(edit=100e-6, send=10e-6, room=1.0).measures())}}
    measured = {"cpu": 1.5, "seconds": 3.1, "frames": 24_000.0}
    lines = prediction_tables(model | {"many-rooms": {"canvas-collab": Result(measured)}})["predictions"]
    assert "| many-rooms | CPU, % of a core | 28.0 | 50.0 | 0.56 |" in lines
    assert not prediction_tables({})


def test_the_build_says_which_interpreter_and_whether_modules_are_compiled() -> None:
    assert "Python 3." in interpreter()
    assert mode({"status": "ok", "execution": "compiled"}) == "compiled"
    assert mode({"status": "ok", "execution": "interpreted"}) == "interpreted"
    assert mode({"status": "ok"}) in ("compiled", "interpreted")


def test_metrics_are_read_with_their_labels() -> None:
    page = '# TYPE commits counter\ncommits_total 12.0\nfanout_bucket{le="0.5"} 3\n'
    assert parse(page) == {"commits_total": 12, 'fanout_bucket{le="0.5"}': 3}


def test_every_measure_of_a_target_has_a_heading() -> None:
    from benchmarks.loads import LOADS

    assert {target.measure for load in LOADS.values() for target in load.targets} <= MEASURES.keys()
