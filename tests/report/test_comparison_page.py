"""The files of a comparison: all from one record, self-contained, and safe whatever names are in it."""

from __future__ import annotations

import csv
import json

from jepa_vlm.report.comparison_page import write_comparison
from tests.report.comparison_records import comparison

MOST_BYTES = 10 * 2**20


def test_all_comparison_files_are_written_from_one_object(tmp_path, page):
    record = comparison()
    files = write_comparison(record, tmp_path / "comparison.json")
    assert [path.name for path in files] == [f"comparison.{end}" for end in ("json", "md", "tex", "csv", "html")]
    held = json.loads(files[0].read_text())
    assert held == json.loads(json.dumps(record))
    again = write_comparison(held, tmp_path / "again" / "comparison.json")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]
    with files[3].open() as text:
        assert {row["arm"] for row in csv.DictReader(text)} == {"untrained", "sft", "pearl"}


def test_the_page_is_self_contained_small_and_whole(tmp_path, page):
    path = write_comparison(comparison(), tmp_path / "comparison.json")[-1]
    found = page(path)
    found.check_self_contained()
    assert path.stat().st_size < MOST_BYTES
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in found.elements
    tables = sum(tag == "table" for tag, _ in found.elements)
    scrolling = sum(attributes.get("class") == "scroll" for _, attributes in found.elements)
    assert tables == scrolling > 7  # a table that is wider than a phone scrolls by itself
    assert "<b>" in found.text


def test_latex_says_everything_of_its_own_in_characters_that_tex_has(tmp_path):
    """The minus of a difference, for one, is no character of pdfTeX's fonts."""
    text = (write_comparison(comparison(), tmp_path / "comparison.json")[2]).read_text()
    assert {character for character in text if not character.isascii()} == set()
    assert "pearl $-$ sft" in text


def test_the_page_stays_small_with_many_configurations_seeds_and_items(tmp_path):
    names = tuple(f"recipe-{i}" for i in range(12))
    path = write_comparison(comparison(seeds=5, names=names), tmp_path / "comparison.json")[-1]
    assert path.stat().st_size < MOST_BYTES


def test_hostile_names_are_escaped_on_the_comparison_page(tmp_path, page, evil):
    record = comparison(names=("sft", f"pearl {evil}"))
    record["notes"] = [evil]
    record["command"] += [evil]
    record["backbone"] = evil
    record["arms"][1] |= {"data": evil, "terms": {evil: evil}, "values": {evil: evil}}
    record["versions"] = {evil: evil}
    record["machines"][0]["cpu"] = evil
    record["columns"][0]["benchmark"] = f"playground:{evil}"
    for by_benchmark in (record["accuracy"], *(run[key] for run in record["runs"] for key in ("accuracy", "against"))):
        if "playground:maze" in by_benchmark:
            by_benchmark[f"playground:{evil}"] = by_benchmark.pop("playground:maze")
    files = write_comparison(record, tmp_path / "comparison.json")
    found = page(files[-1])
    found.check_self_contained()
    assert "&lt;script&gt;" in found.text
    outside = files[1].read_text().split("```")  # the command stands in a block of code
    assert "<script>" not in outside[0] + outside[2]
