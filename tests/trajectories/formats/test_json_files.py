"""Indexed JSON files hold the same records as a plain parser finds, for any size of the read window."""

from __future__ import annotations

import json

import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats import json_files
from jepa_vlm.trajectories.formats.json_files import JsonRecords

ROWS = [{"a": i, "text": 'é ü 雪 \\ " ] } , 🙂' * (i % 7), "list": [1, {"b": None}]} for i in range(60)]


@pytest.mark.parametrize("chunk", [7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_json_list_is_indexed_as_json_loads_reads_it(tmp_path, monkeypatch, chunk, indent, bom):
    monkeypatch.setattr(json_files, "_CHUNK", chunk)
    path = tmp_path / "rows.json"
    path.write_bytes(bom + b" \n" + json.dumps(ROWS, indent=indent, ensure_ascii=False).encode() + b"\n")
    found = JsonRecords(path)
    assert [found.read(i) for i in range(len(found))] == ROWS
    assert found.place(3) == f"{path}[3]"


@pytest.mark.parametrize("chunk", [7, 1 << 20])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_json_lines_are_found_with_their_numbers(tmp_path, monkeypatch, chunk, bom):
    monkeypatch.setattr(json_files, "_CHUNK", chunk)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(bom + "\n  \n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode())
    found = JsonRecords(path)
    assert [found.read(i) for i in range(len(found))] == ROWS
    assert found.place(3) == f"{path}:7"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ('[{"a": 1} {"a": 2}]', r"rows\.json\[1\]: not valid JSON \(expected ',' or '\]', got '\{'\)"),
        ('[{"a": 1}, ]', r"rows\.json\[1\]: not valid JSON \(Expecting value\); the list ends here"),
        ('[{"a": 1}, {"a": ', r"rows\.json\[1\]: not valid JSON"),
        ('[{"a": 1}', r"rows\.json\[1\]: not valid JSON \(expected ',' or '\]', got ''\)"),
        ("[" * 100_000, r"rows\.json\[0\]: not valid JSON"),
        ('[{"a": 1}][{"a": 2}]', r"must hold one JSON list, but goes on with '\[' after it"),
    ],
)
def test_a_file_that_is_no_json_list_is_refused_with_the_position(tmp_path, content, message):
    path = tmp_path / "rows.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        JsonRecords(path)


def test_a_record_that_is_no_object_is_refused_when_it_is_read(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[3, {"a": 1}, null]')
    found = JsonRecords(path)
    assert found.read(1) == {"a": 1}
    for index in (0, 2):
        with pytest.raises(DataError, match="a record must be an object"):
            found.read(index)


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_refused_wherever_they_stand(tmp_path, value):
    (tmp_path / "rows.jsonl").write_text(f'{{"a": {{"b": [1.5, {value}]}}}}\n{{"a": 1.5}}')
    found = JsonRecords(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match=f"{value} is no JSON number; write null, or leave the key out") as caught:
        found.read(0)
    assert caught.value.problem == "json"
    assert found.read(1) == {"a": 1.5}


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_an_oversized_number_rejects_its_own_row_alone(tmp_path, name):
    path = tmp_path / name
    rows = ['{"a": 1' + "0" * 5000 + "}", '{"a": 2}']
    path.write_text("\n".join(rows) if name.endswith("l") else f"[{','.join(rows)}]")
    found = JsonRecords(path)
    assert found.read(1) == {"a": 2}
    with pytest.raises(DataError, match="not usable JSON"):
        found.read(0)


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_giant_record_is_refused_without_being_parsed(tmp_path, monkeypatch, name):
    monkeypatch.setattr(json_files, "MAX_RECORD", 100)
    monkeypatch.setattr(json_files, "_CHUNK", 64)
    path = tmp_path / name
    rows = [json.dumps({"a": 1}), json.dumps({"a": "x" * 150})]
    path.write_text("\n".join(rows) if name.endswith("l") else f"[{','.join(rows)}]")
    found = JsonRecords(path)
    with pytest.raises(DataError, match=r"a record may have 100 bytes, this one has 1\d\d") as caught:
        found.read(1)
    assert caught.value.problem == "text too long"


def test_a_json_list_with_an_endless_value_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "MAX_RECORD", 100)
    monkeypatch.setattr(json_files, "_CHUNK", 64)
    path = tmp_path / "rows.json"
    path.write_text('["' + "x" * 5000)
    with pytest.raises(DataError, match=r"rows\.json\[0\]: no JSON value ends within 400 characters"):
        JsonRecords(path)


def test_omitted_records_are_counted_and_the_rest_keep_their_positions(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"a": i}) for i in range(5)) + "\nbroken")
    found = JsonRecords(path)
    found.keep(lambda record: "odd" if record["a"] % 2 else "")
    assert found.dropped == {"odd": 2}
    assert [found.place(i) for i in range(len(found))] == [f"{path}:{line}" for line in (1, 3, 5, 6)]


def test_a_folder_or_missing_file_in_place_of_json_is_refused(tmp_path):
    with pytest.raises(DataError, match="it is not a file"):
        JsonRecords(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        JsonRecords(tmp_path / "gone.json")


def test_invalid_utf8_rejects_its_own_row_alone(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"a": "\xff\xfe"}, {"a": "\xc3\xa9"}]')
    found = JsonRecords(path)
    assert found.read(1) == {"a": "é"}
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        found.read(0)


@pytest.mark.parametrize("end", ["", "\n"])
def test_json_objects_may_span_several_lines(tmp_path, end):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row, indent=1) for row in ROWS) + end)
    found = JsonRecords(path)
    assert [found.read(i) for i in range(len(found))] == ROWS
    assert found.place(1) == f"{path}[1]"


def test_a_broken_first_line_rejects_its_own_row_alone(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('{"a": 1,\n{"a": 2}\n')
    found = JsonRecords(path)
    assert found.read(1) == {"a": 2}
    assert found.place(0) == f"{path}:1"


@pytest.mark.parametrize(
    ("begin", "kind"), [(b"PAR1", "parquet"), (b"\x1f\x8b", "compressed"), (b"PK\x03\x04", "a zip")]
)
def test_a_file_that_is_no_json_is_one_message(tmp_path, begin, kind):
    (tmp_path / "rows.jsonl").write_bytes(begin + b"\n" * 9)
    with pytest.raises(DataError, match=f"must hold JSON, but it is {kind}"):
        JsonRecords(tmp_path / "rows.jsonl")
