"""The generated parts of ``docs/performance.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.predictions import prediction_tables
from benchmarks.report import Results, target_lines
from tests.support.daemons import ROOT

PAGE = ROOT / "docs" / "performance.md"


def with_parts(page: str, parts: Mapping[str, Iterable[str]]) -> str:
    """Replace the generated parts of a page; a part is between ``<!-- NAME -->`` and ``<!-- end of NAME -->``.

    :raises ValueError: if the page has no such part.
    """
    for name, lines in parts.items():
        before, start, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        if not end:
            raise ValueError(f"the page has no part {name!r}")
        text = "\n".join(lines)
        page = f"{before}{start}\n{text}\n\n{end}{after}"
    return page


def write_page(results: Results) -> None:
    """Write the tables of results into the page, those that there are results for."""
    parts: dict[str, Iterable[str]] = {"comparison": _comparison(results)}
    parts.update(prediction_tables(results.loads))
    PAGE.write_text(with_parts(PAGE.read_text(encoding="utf-8"), parts), encoding="utf-8")


def _comparison(results: Results) -> Iterable[str]:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    about = results.about
    yield f"{versions}. {about['build']}. {about['versions']}. {about['date']}; measured {about['repeated']}."
    yield ""
    yield from target_lines(results.loads)
