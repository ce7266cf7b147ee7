"""Updates that Yjs clients fail on are rejected if the update alone shows it; accepted updates break no client.

The oracle is Yjs (tests/node/judgement.mjs). POISON_SEED is the seed of the updates; a failure names it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from canvas_collab.document.folding import Snapshot, read_document, snapshot_of
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.poison import check_runs
from canvas_collab.protocol.update import EMPTY_UPDATE, decode_update
from tests.support import poison_cases
from tests.support.crafted_updates import crafted_update
from tests.support.document_poison import document_poison, is_explained
from tests.support.fuzzing import Fuzzer
from tests.support.poison_cases import PoisonCase
from tests.support.yjs_oracle import Failure, History, YjsOracle

SEED = int(os.environ.get("POISON_SEED", "1"))

#: How many accepted updates the oracle tries, and how many updates of real clients are decoded.
JUDGED = 6_000
VALID = 6_000

#: The number of real histories that the fuzzer mutates.
CORPUS = 60

IN_ONE_UPDATE = {found.name: found for found in poison_cases.refused_cases()}
HARMLESS = {found.name: found for found in poison_cases.harmless_cases()}
ACCEPTED = {found.name: found for found in poison_cases.accepted_cases()}


@pytest.fixture(scope="module")
def oracle(node_executable: str, node_path: Path) -> Iterator[YjsOracle]:
    with YjsOracle(node_executable, node_path) as oracle:
        yield oracle


def broken(oracle: YjsOracle, history: History) -> list[Failure]:
    [verdict] = oracle.check([history])
    return [failure for failure in verdict if not failure.is_reading]


def is_rejected(update: bytes) -> bool:
    try:
        decode_update(update, reject_poison=True)
    except Malformed:
        return True
    return False


@pytest.mark.parametrize("found", IN_ONE_UPDATE.values(), ids=IN_ONE_UPDATE)
def test_poison_in_a_single_update_is_rejected(found: PoisonCase) -> None:
    assert is_rejected(found.updates[0])


@pytest.mark.parametrize("found", IN_ONE_UPDATE.values(), ids=IN_ONE_UPDATE)
def test_stored_poison_is_read_unchanged(found: PoisonCase) -> None:
    document = read_document(Snapshot(), found.updates)
    assert read_document(snapshot_of(document), []).encode() == document.encode()
    assert read_document(Snapshot(document.encode()), []).encode() == document.encode()


@pytest.mark.parametrize("found", HARMLESS.values(), ids=HARMLESS)
def test_updates_that_only_look_like_poison_are_accepted_and_break_nothing(
    found: PoisonCase, oracle: YjsOracle
) -> None:
    assert not any(map(is_rejected, found.updates))
    assert broken(oracle, History([], found.updates)) == []


@pytest.mark.parametrize("found", ACCEPTED.values(), ids=ACCEPTED)
def test_hidden_poison_is_accepted_and_breaks_yjs_as_expected(found: PoisonCase, oracle: YjsOracle) -> None:
    history = History([], found.updates)
    assert not any(map(is_rejected, found.updates))
    failures = broken(oracle, history)
    assert failures
    assert is_explained(history, failures) or any("call stack" in failure.error for failure in failures)


@pytest.mark.parametrize("before", range(2**18 - 80, 2**18 + 10, 9))
@pytest.mark.parametrize("key", ["__proto__", "\\u005f_pr\\u006Fto_\\u005F"])
def test_a_key_is_found_wherever_in_a_long_text_it_is(before: int, key: str) -> None:
    assert is_rejected(crafted_update(1, 0, poison_cases.embed('{"' + "a" * before + f'":1,"{key}" :{{}}}}')))
    assert not is_rejected(crafted_update(1, 0, poison_cases.embed('{"' + "a" * before + f'":["{key}"]}}')))


SUSPECTS = {
    "values": lambda size: poison_cases.values(*[poison_cases.text("__proto__")] * size, parent="array"),
    "options": lambda size: poison_cases.subdocument(
        poison_cases.obj(("meta", poison_cases.arr(*[poison_cases.text("guid")] * size)))
    ),
    "texts": lambda size: poison_cases.old_json(*['"\\u005f__proto__"'] * size, parent="array"),
    "a text": lambda size: poison_cases.embed("[" + ",".join(['"__proto__"'] * size) + "]"),
}


@pytest.mark.parametrize("name", SUSPECTS)
def test_checking_for_poison_takes_steps_in_proportion_to_the_size(name: str) -> None:
    def steps(size: int) -> int:
        update = decode_update(crafted_update(1, 0, SUSPECTS[name](size)))
        return sum(1 for _ in check_runs(1, update.runs[1]))

    few, many = steps(100_000), steps(200_000)
    assert 3 < few < 1000
    assert abs(many - 2 * few) <= 4


#: Poison that is rejected although it does not always break Yjs.  In JSON a key __proto__ is harmless until Yjs encodes
#: the item in another format because it is pending; and a value that is not an object does not become a prototype.
REJECTED_ANYWAY = (
    "a prototype in an embed",
    "a prototype in a mark",
    "a prototype in old JSON",
    "a prototype that is a number",
    "a prototype of a subdocument's options",
)


@pytest.mark.parametrize("found", IN_ONE_UPDATE.values(), ids=IN_ONE_UPDATE)
def test_rejected_updates_would_break_yjs(found: PoisonCase, oracle: YjsOracle) -> None:
    if not found.name.startswith(REJECTED_ANYWAY):
        assert broken(oracle, History([], found.updates))


def test_no_update_of_real_clients_is_rejected(oracle: YjsOracle) -> None:
    tried = 0
    seed = SEED * 1_000_000
    while tried < VALID:
        for history in oracle.histories(range(seed, seed + 20)):
            for number, update in enumerate(history):
                assert not is_rejected(update), f"POISON_SEED={SEED}, history {seed}, update {number}: {update.hex()}"
            tried += len(history)
        seed += 20
    assert not is_rejected(EMPTY_UPDATE)


def test_accepted_updates_break_no_client_except_by_hidden_poison(oracle: YjsOracle) -> None:
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
    # Most must have no hidden poison, or this would prove little.
    assert quiet * 20 > accepted / 2
    print(f"{accepted} accepted, {dict(explained)}")
