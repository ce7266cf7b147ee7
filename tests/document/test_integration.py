"""The limit on the work of integrating a document."""

from __future__ import annotations

import pytest

from canvas_collab.document.budget import BudgetExceeded
from canvas_collab.document.integration import Integration
from canvas_collab.protocol.update import Update, decode_update
from tests.support.stored_poison import at_one_place


def test_too_many_insertions_at_one_position_exceed_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("canvas_collab.document.integration.MAX_STEPS", 1000)

    def crowd(count: int) -> Update:
        update = decode_update(at_one_place(count))
        # In ascending order of client ids, each item has to pass all before it.
        return Update(dict(sorted(update.runs.items())), update.deletions)

    Integration(crowd(40))
    with pytest.raises(BudgetExceeded, match="too many operations"):
        Integration(crowd(60))
