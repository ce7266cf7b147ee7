"""What doctor finds about a database, without the rest of a deployment."""

from __future__ import annotations

from contextlib import closing

from canvas_collab.cli.doctor.database import use_schemas
from canvas_collab.cli.doctor.finding import Finding
from canvas_collab.cli.doctor.plans import check_plans
from canvas_collab.database.blocking import connect
from canvas_collab.database.tables import DEFAULT_SCHEMA
from tests.support.databases import TestDatabase


def plans_of(database: TestDatabase) -> list[Finding]:
    """Return what is found about the plans of other tools."""
    with closing(connect(database.url, "tests", "DATABASE_URL")) as connection:
        return check_plans(connection, use_schemas(connection, database.url, DEFAULT_SCHEMA))
