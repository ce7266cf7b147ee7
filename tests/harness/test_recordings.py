"""The recordings that the benchmarks replay: Yjs makes them, and their updates are recognized when they arrive."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.endpoint import Endpoint
from benchmarks.generator.arrivals import Arrivals
from benchmarks.generator.client import FIRST_CLIENT_ID, Client
from benchmarks.recordings import Recording
from benchmarks.servers.node import NODE_DIRECTORY
from canvas_collab.document.document import Document
from canvas_collab.protocol.update import decode_update


@pytest.fixture(scope="module", params=["dragging", "strokes", "typing", "pasting"])
def recording(
    request: pytest.FixtureRequest, node_path: Path, node_executable: str, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    """A short recording of each kind, made with the Yjs of the tests."""
    directory = tmp_path_factory.mktemp("recording")
    (directory / "node_modules").symlink_to(node_path / "node_modules")
    program = directory / "record.mjs"
    program.write_text((NODE_DIRECTORY / "record.mjs").read_text())
    file = directory / "recording"
    command = [node_executable, program, request.param, "2", "3", str(FIRST_CLIENT_ID), file]
    subprocess.run(command, check=True)
    return Recording.parse(file.read_text())


def test_each_edit_is_one_update_of_its_author_and_the_last_clock_is_known(recording: Recording) -> None:
    assert len(recording.authors) == 2
    assert recording.frames == 3
    for number, author in enumerate(recording.authors):
        clock = 0
        for update, end in zip(author.updates, author.ends, strict=True):
            runs = decode_update(update).runs
            assert list(runs) == [FIRST_CLIENT_ID + number]
            for run in runs[FIRST_CLIENT_ID + number]:
                assert run.clock == clock
                clock = run.end
            assert clock == end


def test_the_edits_and_the_board_before_them_are_a_whole_document(recording: Recording) -> None:
    updates = [recording.base, *(update for author in recording.authors for update in author.updates)]
    document = Document(map(decode_update, updates))
    expected = {FIRST_CLIENT_ID + number: author.ends[-1] for number, author in enumerate(recording.authors)}
    assert document.clocks == {1: document.clocks[1], **expected}


def test_an_update_of_several_clocks_is_delivered_once_when_its_last_one_arrives() -> None:
    text = json.dumps({"base": "", "updates": [[["AAA=", 3], ["AAA=", 4], ["AAA=", 7]]]})
    client = Client(Endpoint("127.0.0.1", 1, ["room"], ["token"]), 0, 0, 0)
    other = Client(Endpoint("127.0.0.1", 1, ["room"], ["token"]), 1, 0, 1)
    client.author = Recording.parse(text).authors[0]
    client.sent_at = [1.0, 2.0, 3.0]
    arrivals = Arrivals([client, other], hocuspocus=False, echo=False)
    for start, end in ((0, 2), (2, 3), (3, 7)):
        arrivals._add(other, 0, start, end, 10.0)
    assert list(arrivals.latencies) == [9.0, 8.0, 7.0]
    client.close()
    other.close()


@pytest.mark.parametrize("updates", [[[["", 1], ["", 1]]], [[["", 0]]], [[["", 1]], []]])
def test_recordings_whose_edits_could_not_be_told_apart_are_refused(updates: list[object]) -> None:
    with pytest.raises(ValueError, match=r"clock of its own|equally many"):
        Recording.parse(json.dumps({"base": "", "updates": updates}))
