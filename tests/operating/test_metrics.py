"""The metrics: what a daemon counts, and that the dashboard, the alerts and the documentation use what there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock

from canvas_collab.counters import Counters, Histogram
from canvas_collab.metrics import LATENESS_INTERVAL, Gauges, LatenessMeter, exporter
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused, typed
from tests.support.daemons import ROOT, Daemon
from tests.support.databases import TestDatabase

NO_GAUGES = Gauges({}, 0, 0, 0, 0, 0, 0, 0, 0, {})


def scrape(daemon: Daemon) -> dict[str, float]:
    """All samples of a daemon, by name and labels."""
    with urllib.request.urlopen(f"{daemon.health_url}/metrics", timeout=10) as response:
        assert response.headers["content-type"].startswith("text/plain")
        return samples(response.read())


def samples(text: bytes) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_what_clients_do_is_counted(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as writer, Client(daemon, "one", ada) as reader:
        for number in range(3):
            writer.edit(typed(f"{number} "))
            reader.wait_for_update()
        with pytest.raises(Refused):
            Client(daemon, "one", database.add_user("stranger"))
        writer.send(b"\x00\x02\x01\xff")
        assert writer.wait_for_close()[0] == 4400
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
        found = scrape(daemon)
    assert found["canvas_collab_updates_received_total"] == 3
    assert found["canvas_collab_updates_sent_total"] == 3
    assert found["canvas_collab_update_received_bytes_total"] > 30
    assert found["canvas_collab_committed_updates_total"] == 3
    assert 1 <= found["canvas_collab_commits_total"] <= 3
    assert found["canvas_collab_commit_seconds_count"] == found["canvas_collab_commits_total"]
    assert found["canvas_collab_fanout_seconds_count"] == 3
    assert found["canvas_collab_denials_total{status=403}"] == 1
    assert found["canvas_collab_closed_total{code=4400}"] == 1
    assert found["canvas_collab_connections{protocol=y-websocket}"] == 1
    assert found["canvas_collab_documents"] == 1
    assert found["canvas_collab_unsaved_updates"] == 0
    assert found["canvas_collab_problem{part=journal}"] == 0
    assert found["process_resident_memory_bytes"] > 0
    assert [name for name in found if name.startswith("canvas_collab_build_info")]


def test_a_snapshot_and_its_compaction_are_counted(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as writer:
        writer.edit(typed("folded"))
    daemon.wait_until(lambda: scrape(daemon)["canvas_collab_documents"] == 0)
    assert scrape(daemon)["canvas_collab_snapshots_total"] >= 1


def test_a_histogram_is_cumulative_and_ends_with_everything() -> None:
    counters = Counters()
    for value in (0.0001, 0.003, 0.003, 60.0):
        counters.fanout.observe(value)
    found = samples(exporter(counters, lambda: NO_GAUGES)())
    assert found["canvas_collab_fanout_seconds_bucket{le=0.0005}"] == 1
    assert found["canvas_collab_fanout_seconds_bucket{le=0.005}"] == 3
    assert found["canvas_collab_fanout_seconds_bucket{le=10.0}"] == 3
    assert found["canvas_collab_fanout_seconds_bucket{le=+Inf}"] == 4
    assert found["canvas_collab_fanout_seconds_count"] == 4


def test_the_lateness_of_the_reactor_is_measured_from_when_a_timer_was_due() -> None:
    clock, lateness = Clock(), Histogram(bounds=(0.01, 1.0))
    meter = LatenessMeter(clock, lateness)
    meter.startService()
    clock.advance(LATENESS_INTERVAL)
    clock.advance(LATENESS_INTERVAL * 3.5)
    clock.advance(LATENESS_INTERVAL * 0.5)
    meter.stopService()
    assert lateness.counts == [2, 1, 0]
    assert lateness.total == pytest.approx(LATENESS_INTERVAL * 2.5)


def names() -> set[str]:
    """The names of all samples that there can be."""
    counters = Counters()
    counters.denials[403] += 1
    counters.closed[4400] += 1
    counters.limits["MAX_CONNECTIONS_PER_USER"] += 1
    gauges = Gauges({"y-websocket": 1}, 0, 0, 0, 0, 0, 0, 0, 0, {"journal": False})
    found = {name.partition("{")[0] for name in samples(exporter(counters, lambda: gauges)())}
    # A histogram is named without the suffixes of its samples.
    return found | {name.removesuffix("_bucket") for name in found}


@pytest.mark.parametrize("path", ["deploy/grafana.json", "deploy/alerts.yml", "docs/metrics.md"])
def test_every_metric_that_is_named_exists(path: str) -> None:
    named = set(re.findall(r"\b(?:canvas_collab|process)_[a-z_]+", (ROOT / path).read_text(encoding="utf-8")))
    assert len(named) > 5
    assert named - names() == set()


def test_every_metric_is_documented_and_on_the_dashboard() -> None:
    own = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in names() if name.startswith("canvas_collab_")}
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert {name for name in own if f"`{name}`" not in page} == set()
    dashboard = (ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8")
    assert {name for name in own if name not in dashboard} <= {
        "canvas_collab_build_info",
        "canvas_collab_backpressure_total",
        "canvas_collab_problem",
        "canvas_collab_update_received_bytes_total",
    }


def test_the_dashboard_has_a_unit_and_a_place_for_every_panel() -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]}
    assert len(places) == len(dashboard["panels"]) >= 10
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in dashboard["panels"])


def test_prometheus_accepts_the_alerts() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        if "CI" in os.environ:
            pytest.fail("promtool is not installed")
        pytest.skip("promtool is not installed")
    subprocess.run([promtool, "check", "rules", str(ROOT / "deploy" / "alerts.yml")], check=True)
