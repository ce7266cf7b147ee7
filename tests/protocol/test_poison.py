"""Updates that real Yjs breaks on are refused where they can be told; what is accepted breaks no client.

The oracle is real Yjs (tests/node/judgement.mjs). POISON_SEED makes other updates; a failure names its seed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from canvas_collab.document.folding import Snapshot, read_document, snapshot_of
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.poison import refuse_poison
from canvas_collab.protocol.update import EMPTY_UPDATE, decode_update
from tests.support import poison_cases
from tests.support.crafted_updates import crafted_update
from tests.support.document_poison import document_poison, is_explained
from tests.support.fuzzing import Fuzzer
from tests.support.poison_cases import PoisonCase
from tests.support.yjs_oracle import Failure, History, YjsOracle

SEED = int(os.environ.get("POISON_SEED", "1"))

#: How many accepted updates the oracle checks, and how many updates of real clients are tried at the door.
JUDGED = 6_000
VALID = 6_000

#: From so many real histories the fuzzer makes others.
CORPUS = 60

REFUSED = {found.name: found for found in poison_cases.refused_cases()}
HARMLESS = {found.name: found for found in poison_cases.harmless_cases()}
ACCEPTED = {found.name: found for found in poison_cases.accepted_cases()}


@pytest.fixture(scope="module")
def oracle(node_executable: str, node_path: Path) -> Iterator[YjsOracle]:
    with YjsOracle(node_executable, node_path) as oracle:
        yield oracle


def broken(oracle: YjsOracle, history: History) -> list[Failure]:
    [verdict] = oracle.check([history])
    return [failure for failure in verdict if not failure.is_reading]


def is_refused(update: bytes) -> bool:
    try:
        decode_update(update, is_new=True)
    except Malformed:
        return True
    return False


@pytest.mark.parametrize("found", REFUSED.values(), ids=REFUSED)
def test_poison_that_an_update_shows_is_refused(found: PoisonCase) -> None:
    assert is_refused(found.updates[0])


@pytest.mark.parametrize("found", REFUSED.values(), ids=REFUSED)
def test_poison_that_is_stored_already_is_read_as_it_is(found: PoisonCase) -> None:
    document = read_document(Snapshot(), found.updates)
    assert read_document(snapshot_of(document), []).encode() == document.encode()
    assert read_document(Snapshot(document.encode()), []).encode() == document.encode()


@pytest.mark.parametrize("found", HARMLESS.values(), ids=HARMLESS)
def test_what_only_looks_like_poison_is_accepted_and_breaks_nothing(found: PoisonCase, oracle: YjsOracle) -> None:
    assert not any(map(is_refused, found.updates))
    assert broken(oracle, History([], found.updates)) == []


@pytest.mark.parametrize("found", ACCEPTED.values(), ids=ACCEPTED)
def test_poison_that_no_update_shows_is_known_for_what_it_does(found: PoisonCase, oracle: YjsOracle) -> None:
    history = History([], found.updates)
    assert not any(map(is_refused, found.updates))
    failures = broken(oracle, history)
    assert failures
    assert is_explained(history, failures) or any("call stack" in failure.error for failure in failures)


@pytest.mark.parametrize("before", range(2**18 - 80, 2**18 + 10, 9))
@pytest.mark.parametrize("key", ["__proto__", "\\u005f_pr\\u006Fto_\\u005F"])
def test_a_key_is_found_wherever_in_a_long_text_it_is(before: int, key: str) -> None:
    assert is_refused(crafted_update(1, 0, poison_cases.embed('{"' + "a" * before + f'":1,"{key}" :{{}}}}')))
    assert not is_refused(crafted_update(1, 0, poison_cases.embed('{"' + "a" * before + f'":["{key}"]}}')))


SUSPECTS = {
    "values": lambda size: poison_cases.values(*[poison_cases.text("__proto__")] * size, parent="array"),
    "options": lambda size: poison_cases.subdocument(
        poison_cases.obj(("meta", poison_cases.arr(*[poison_cases.text("guid")] * size)))
    ),
    "texts": lambda size: poison_cases.old_json(*['"\\u005f__proto__"'] * size, parent="array"),
    "a text": lambda size: poison_cases.embed("[" + ",".join(['"__proto__"'] * size) + "]"),
}


@pytest.mark.parametrize("name", SUSPECTS)
def test_looking_for_poison_takes_steps_in_proportion_to_the_size(name: str) -> None:
    def steps(size: int) -> int:
        update = decode_update(crafted_update(1, 0, SUSPECTS[name](size)))
        return sum(1 for _ in refuse_poison(1, update.runs[1]))

    few, many = steps(100_000), steps(200_000)
    assert 3 < few < 1000
    assert abs(many - 2 * few) <= 4


#: In JSON a key __proto__ is one like others, until Yjs keeps the item in another format because it waits; and what is
#: no object is no prototype.  Neither is worth telling apart.
REFUSED_ALL_THE_SAME = (
    "a prototype in an embed",
    "a prototype in a mark",
    "a prototype in old JSON",
    "a prototype that is a number",
    "a prototype of a subdocument's options",
)


@pytest.mark.parametrize("found", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_would_break_yjs(found: PoisonCase, oracle: YjsOracle) -> None:
    if not found.name.startswith(REFUSED_ALL_THE_SAME):
        assert broken(oracle, History([], found.updates))


def test_no_update_of_real_clients_is_refused(oracle: YjsOracle) -> None:
    tried = 0
    seed = SEED * 1_000_000
    while tried < VALID:
        for history in oracle.histories(range(seed, seed + 20)):
            for number, update in enumerate(history):
                assert not is_refused(update), f"POISON_SEED={SEED}, history {seed}, update {number}: {update.hex()}"
            tried += len(history)
        seed += 20
    assert not is_refused(EMPTY_UPDATE)


def test_whatever_is_accepted_breaks_no_client_unless_only_the_document_could_tell(oracle: YjsOracle) -> None:
    fuzzer = Fuzzer(SEED, oracle.histories(range(SEED * 1000, SEED * 1000 + CORPUS)))
    accepted = quiet = 0
    explained: Counter[str] = Counter()
    while accepted < JUDGED:
        histories = [fuzzer.history() for _ in range(20)]
        for history, verdict in zip(histories, oracle.check(histories), strict=True):
            accepted += len(history.accepted)
            failures = [failure for failure in verdict if not failure.is_reading]
            if not failures:
                quiet += not document_poison(history)
            elif is_explained(history, failures):
                explained.update({failure.error for failure in failures})
            else:
                reduced = oracle.reduced(history)
                updates = [update.hex() for update in reduced.accepted]
                pytest.fail(f"POISON_SEED={SEED}: {failures[0].group}: {updates}")
    # Most of them have no poison that the document would show, or the rest would be no test.
    assert quiet * 20 > accepted / 2
    print(f"{accepted} accepted, {dict(explained)}")
