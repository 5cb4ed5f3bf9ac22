from __future__ import annotations

import csv
import json
import math

from jepa_vlm.contrib.analysis.analysis_files import write_analysis


def test_numbers_of_a_figure_are_written_next_to_it(tmp_path):
    rows = [{"name": 'a,"b"', "value": 1.5}, {"name": "c", "value": math.nan}]
    summary = {"low": math.nan, "many": [1.0, math.inf, {"x": 2}], "name": "é"}
    paths = write_analysis(tmp_path / "new", "one", summary=summary, table=rows, figure="<svg/>", command=["a", "b"])
    assert [path.name for path in paths] == ["one.json", "one.csv", "one.svg"]
    found = json.loads(paths[0].read_text(encoding="utf-8"))
    made = found.pop("made")
    assert (made["command"], set(made)) == (["a", "b"], {"command", "versions", "commit"})
    assert found == {"low": None, "many": [1.0, None, {"x": 2}], "name": "é"}
    with paths[1].open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [{"name": 'a,"b"', "value": "1.5"}, {"name": "c", "value": "nan"}]
    assert paths[2].read_text(encoding="utf-8") == "<svg/>"
    assert len(list((tmp_path / "new").iterdir())) == 3
