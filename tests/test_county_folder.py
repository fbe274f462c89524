"""The contract of the county study: a sound folder passes, each way to be wrong is named.

One row per way to be wrong: which cells change, in which table the line stands, words it must hold.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from evalkit import cli
from evalkit.core.errors import ContractError, EvalkitError
from evalkit.data.county import OPTIONAL, TABLES
from evalkit.data.county import folder as folders

EXAMINED = {}
SHARES = '{"A":0.4,"B":0.6}'


def sound():
    """Two counties of one prefecture with two towns, three schools and one group; codes made up."""
    years = [2020, 2021]
    schools = ["a", "b", "c"]
    long = {"school_id": [s for s in schools for _ in years], "year": years * 3}
    return {
        "county": {
            "county_code": ["990101", "990102"], "name_zh": ["甲", "乙"],
            "prefecture_code": "990100", "type": ["区", "县"], "valid_from": "2000-01-01",
            "valid_to": [None, "2021-12-31"],
        },
        "county_year": {
            "county_code": ["990101", "990101", "990102", "990102"], "year": years * 2,
            "pupils_compulsory": [900, 910, 500, 480], "cert_stage": [0, 1, 0, 0],
        },
        "town": {
            "town_code": ["990101001", "990102001"], "county_code": ["990101", "990102"],
            "kind": ["街道", "镇"], "pilot_level": ["none", "city"],
            "pilot_start": [None, "2021-04-19"],
        },
        "school": {
            "school_id": schools, "county_code": ["990101", "990101", "990102"],
            "town_code": ["990101001", "990101001", "990102001"],
            "stratum": ["urban", "urban", "rural"], "level": ["primary", "junior", "primary"],
            "ownership": "public", "opened": [None, "2020-09-01", None], "is_new_build":
            [False, True, False],
        },
        "school_year": {
            **long, "pupils": [300, 310, 200, 210, 90, 80], "teachers": [20, 20, 15, 15, 8, 8],
            "backbone": [4, 4, 3, 3, 1, 1], "max_class": [45, 45, 50, 50, 20, 20],
            "local_registered": [300, 310, 200, 200, 120, 120],
            "local_enrolled": [280, 290, 180, 190, 80, 70],
        },
        "group_membership": {
            "group_id": ["g", "g"], "school_id": ["a", "b"], "start": ["2019-09-01", "2020-09-01"],
            "end": [None, None], "role": ["lead", "member"],
        },
        "measure_event": {
            "unit_id": ["990101", "g", "990102001"], "unit_kind": ["county", "group", "town"],
            "measure_id": ["Q04", "Q19", "Z01"], "start_earliest": ["2020-01-01", None, None],
            "start_latest": "2021-04-19", "dose": [400, None, None],
            "dose_unit": ["yuan per pupil", None, None], "source": "register",
        },
        "pupil_test": {
            "pupil_key": ["p1", "p2"], "school_id": ["a", "c"], "cohort": 2016, "grade": 5,
            "year": 2021, "subject": "math", "score": [80, 70], "prior_score": [75, 60],
            "prior_year": 2019,
        },
        "school_cohort": {
            **long, "grade": 5, "subject": "math", "n_tested": [50, 52, 60, 62, 15, 14],
            "mean": 75, "sd": 11, "share_by_grade_band": SHARES,
        },
        "teacher_year": {
            "teacher_key": ["t1", "t2"], "year": 2021, "school_id": ["a", "b"],
            "moved_from": [None, "a"], "move_kind": [None, "exchange"],
        },
        "survey_year": {
            "respondent_key": ["r1"], "year": 2021, "school_id": "a", "role": "parent",
            "item_1": 4, "item_2": 5,
        },
    }  # fmt: skip


def written(path, tables=None, *, suffix=".csv", tier="restricted"):
    """Write tables with all columns of their contracts into a folder."""
    path.mkdir(exist_ok=True)
    folders.Manifest(tier, "test").write(path)
    for name, columns in (tables or sound()).items():
        frame = pd.DataFrame(columns)
        names = TABLES[name].numbered(list(frame)).columns
        frame = frame.reindex(columns=[*names, *(c for c in frame if c not in names)])
        if suffix == ".csv":
            frame.to_csv(path / f"{name}.csv", index=False)
        else:
            frame.to_parquet(path / f"{name}.parquet", index=False)
    return path


@pytest.fixture(autouse=True)
def examined_once(monkeypatch):
    """Most tables are the same in every test: examine each text of a table once."""
    plain = folders.examine

    def examine(path, contract):
        key = (path.name, path.read_bytes())
        if key not in EXAMINED:
            EXAMINED[key] = plain(path, contract)
        frame, failures = EXAMINED[key]
        return frame.copy(), list(failures)

    monkeypatch.setattr(folders, "examine", examine)


def put(table, **columns):
    made = sound()
    made[table] |= columns
    return made


def without(*tables):
    return {name: columns for name, columns in sound().items() if name not in tables}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_sound_folder_breaks_no_rule(tmp_path, suffix):
    assert folders.check(written(tmp_path, suffix=suffix)) == {}


@pytest.mark.parametrize("absent", [*OPTIONAL, ("pupil_test", "teacher_year", "survey_year")])
def test_optional_tables_may_be_absent(tmp_path, absent):
    names = (absent,) if isinstance(absent, str) else absent
    assert folders.check(written(tmp_path, without(*names))) == {}


WRONG = {
    "a county that is not in county": (
        put("county_year", county_code=["990101", "990101", "990103", "990103"]), "county_year",
        ["county_code", "not in county.county_code", "row 3 holds 990103", "rows 3, 4", "Add"]),
    "a school that is not in school": (
        put("school_year", school_id=["a", "a", "b", "b", "d", "d"]), "school_year",
        ["school_id", "not in school.school_id", "row 5 holds d"]),
    "a town that is not in town": (
        put("school", town_code=["990101009", "990101001", None]), "school",
        ["town_code", "town.town_code", "row 1 holds 990101009"]),
    "full-width digits in a date": (
        put("school", opened=[None, "２０２０-09-01", None]), "school", ["opened", "YYYY-MM-DD"]),
    "a count beyond what a number holds": (
        put("county_year", pupils_compulsory=["900", "inf", "500", "9007199254740993"]),
        "county_year", ["pupils_compulsory: must be integer", "row 2 holds inf", "rows 2, 4"]),
    "a town of another county": (
        put("school", town_code=["990101001", "990102001", "990102001"]), "school",
        ["town_code", "another county", "row 2"]),
    "a school in two counties": (
        put("school", school_id=["a", "b", "a"]), "school",
        ["school_id", "two counties", "rows 1, 3", "another identifier"]),
    "a year after the code's validity": (
        put("county_year", year=[2020, 2021, 2020, 2022]), "county_year",
        ["year", "outside county.valid_from", "row 4 holds 2022"]),
    "a year before the school opened": (
        put("school_year", year=[2020, 2021, 2019, 2021, 2020, 2021]), "school_year",
        ["year", "school.opened", "row 3 holds 2019"]),
    "a membership before the school opened": (
        put("group_membership", start=["2019-09-01", "2019-09-01"]), "group_membership",
        ["start", "school.opened", "row 2 holds 2019-09-01"]),
    "a school in two groups at once": (
        put("group_membership", group_id=["g", "h"], school_id=["a", "a"], role=["lead", "lead"]),
        "group_membership", ["another spell", "row 2 holds a 2020-09-01", "End the first"]),
    "a group without a lead": (
        put("group_membership", role=["member", "member"]), "group_membership",
        ["group_id", "no lead", "row 1 holds g"]),
    "a dose without a unit": (
        put("measure_event", dose_unit=None), "measure_event",
        ["dose + dose_unit", "rows 1", "Fill in dose_unit"]),
    "an event of a group that has no members": (
        put("measure_event", unit_id=["990101", "h", "990102001"]), "measure_event",
        ["unit_id", "a group not in group_membership.group_id", "row 2 holds h"]),
    "a window that ends before it begins": (
        put("measure_event", start_earliest=["2022-01-01", None, None]), "measure_event",
        ["start_earliest + start_latest", "rows 1"]),
    "a measure that is no row of a catalogue": (
        put("measure_event", measure_id=["groups", "Q19", "Z01"]), "measure_event",
        ["measure_id", "row 1 holds groups"]),
    "a pilot without a start": (
        put("town", pilot_start=None), "town", ["pilot_level + pilot_start", "rows 2"]),
    "more local pupils here than registered": (
        put("school_year", local_enrolled=[301, 0, 0, 0, 0, 0]), "school_year",
        ["local_registered + local_enrolled", "rows 1"]),
    "more backbone teachers than teachers": (
        put("school_year", backbone=[4, 4, 3, 16, 1, 1]), "school_year",
        ["teachers + backbone", "rows 4"]),
    "more pupils tested than enrolled": (
        put("school_cohort", n_tested=[50, 52, 60, 62, 15, 81]), "school_cohort",
        ["n_tested", "school_year.pupils", "row 6 holds 81"]),
    "shares that are no shares": (
        put("school_cohort", share_by_grade_band="A: 40%"), "school_cohort",
        ["share_by_grade_band", "JSON", "rows 1, 2"]),
    "shares that do not add up": (
        put("school_cohort", share_by_grade_band=[SHARES] * 5 + ['{"A":0.4}']), "school_cohort",
        ["sum to 1", "rows 6"]),
    "a prior score without its year": (
        put("pupil_test", prior_year=[2019, None]), "pupil_test", ["prior_score", "rows 2"]),
    "a prior test after the test": (
        put("pupil_test", prior_year=[2019, 2021]), "pupil_test", ["prior_year", "rows 2"]),
    "a pupil twice": (
        put("pupil_test", pupil_key=["p1", "p1"]), "pupil_test", ["the key repeats in rows 1, 2"]),
    "a move from the same school": (
        put("teacher_year", moved_from=[None, "b"]), "teacher_year", ["another school", "rows 2"]),
    "an answer that is no number": (
        put("survey_year", item_2="agree"), "survey_year", ["item_2", "integer", "agree"]),
    "a survey with a column of its own": (
        put("survey_year", item_x=1), "survey_year", ["item_x", "no such column"]),
    "a count that is negative": (
        put("school_year", pupils=[300, 310, 200, 210, 90, -1]), "school_year",
        ["pupils", "at least 0", "row 6 holds -1"]),
    "a date that is none": (
        put("county", valid_from=["2000-01-01", "2000-13-01"]), "county",
        ["valid_from", "YYYY-MM-DD", "row 2"]),
    "a code that lost its zeros": (
        put("county", county_code=["99101", "990102"]), "county", ["county_code", "row 1"]),
    "an unknown role": (
        put("group_membership", role=["head", "member"]), "group_membership",
        ["role", "lead, member, branch", "row 1 holds head"]),
    "a table that is absent": (without("school_year"), "school_year", ["no school_year.csv"]),
    "no test at all": (
        without("pupil_test", "school_cohort"), "school_cohort", ["neither", "pupil_test"]),
    "no counties": (put("county", **{n: [] for n in sound()["county"]}), "county", ["no rows"]),
}  # fmt: skip


@pytest.mark.parametrize(("tables", "table", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_broken_rule_is_named_with_table_column_rows_and_remedy(tmp_path, tables, table, words):
    lines = folders.check(written(tmp_path, tables))[table]
    assert any(all(word in line for word in words) for line in lines), lines


def test_every_failure_is_reported_at_once(tmp_path):
    tables = put("county", valid_from="soon")
    tables["school"]["stratum"] = "city"
    tables["group_membership"]["role"] = "member"
    broken = folders.check(written(tmp_path, tables))
    assert {"county", "school", "group_membership"} <= set(broken)


def test_a_real_code_cannot_carry_simulated_outcomes_nor_a_made_code_pass_for_real(tmp_path):
    lines = folders.check(written(tmp_path, tier="synthetic"))["county"]
    assert "real codes (990101, 990102)" in lines[0]
    codes = {"990101": "S001", "990102": "S002"}
    tables = sound()
    for columns in tables.values():
        if "county_code" in columns:
            columns["county_code"] = [codes[code] for code in columns["county_code"]]
    tables["measure_event"]["unit_id"] = ["S001", "g", "990102001"]
    assert folders.check(written(tmp_path, tables, tier="synthetic")) == {}
    lines = folders.check(written(tmp_path, tables, tier="restricted"))["county"]
    assert "codes of the simulator (S001, S002)" in lines[0]


def test_a_manifest_may_begin_with_a_byte_order_mark(tmp_path):
    path = written(tmp_path) / folders.MANIFEST
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert folders.check(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"PAR1"])
def test_a_broken_parquet_file_is_named(tmp_path, content):
    written(tmp_path, without("town"))
    (tmp_path / "town.parquet").write_bytes(content)
    assert "town.parquet: not a whole Parquet file" in folders.check(tmp_path)["town"][0]


def test_an_optional_table_in_a_workbook_is_not_passed_over(tmp_path):
    written(tmp_path, without("teacher_year"))
    (tmp_path / "teacher_year.xlsx").write_bytes(b"PK")
    (tmp_path / "~$teacher_year.xlsx").write_bytes(b"")  # left by a program that has it open
    (line,) = folders.check(tmp_path)["other files"]
    assert line.startswith("teacher_year.xlsx: no table of the study, and not read")


MANIFESTS = {
    "no object": ("[]", ["JSON object"]),
    "no JSON": ("{", ["JSON object"]),
    "no provenance": ('{"title": "t"}', ["provenance"]),
    "an unknown tier": ('{"provenance": "secret", "title": "t"}', ["provenance", "secret"]),
    "a low floor": ('{"provenance": "real", "title": "t", "floor": 2}', ["floor", "at least 5"]),
    "a floor in words": ('{"provenance": "real", "title": "t", "floor": "ten"}', ["floor"]),
}


@pytest.mark.parametrize(("text", "words"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_manifest_that_is_wrong_is_refused(tmp_path, text, words):
    (written(tmp_path) / folders.MANIFEST).write_text(text)
    (line,) = folders.check(tmp_path)[folders.MANIFEST]
    assert all(word in line for word in words)


def test_two_files_of_one_table_are_refused(tmp_path):
    written(tmp_path)
    written(tmp_path, {"county": sound()["county"]}, suffix=".parquet")
    assert "both stand there" in folders.check(tmp_path)["county"][0]


def test_a_file_that_is_no_table_of_the_study_is_named(tmp_path):
    (written(tmp_path) / "schools.csv").write_text("a")
    assert "schools.csv" in folders.check(tmp_path)["other files"][0]


def test_a_template_has_every_column_and_asks_to_be_filled(tmp_path):
    names = {path.name for path in folders.template(tmp_path / "new")}
    assert names == {"study.json", "README.md", *(f"{table}.csv" for table in TABLES)}
    broken = folders.check(tmp_path / "new")
    assert set(broken) == {"county", "county_year", "school", "school_year", "school_cohort"}
    assert json.loads((tmp_path / "new/study.json").read_text())["provenance"] == "restricted"
    readme = (tmp_path / "new/README.md").read_text("utf-8")
    for contract in TABLES.values():
        assert contract.zh in readme
        assert all(column.zh in readme for column in contract.columns.values())


def test_a_template_overwrites_nothing(tmp_path):
    folders.template(tmp_path)
    with pytest.raises(EvalkitError, match=r"README\.md.* already"):
        folders.template(tmp_path)


def test_the_command_prints_every_broken_rule_and_its_exit_code_says_so(tmp_path, capsys):
    assert cli.main(["check", str(written(tmp_path))]) == 0
    assert capsys.readouterr().out == "evalkit: no rule is broken\n"
    written(tmp_path, put("school_year", pupils=[-1, 310, 200, 210, 90, -1]))
    assert cli.main(["check", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "school_year\n  - pupils: must be at least 0; row 1 holds -1 (rows 1, 6)." in printed


def test_the_command_writes_a_template_once(tmp_path, capsys):
    assert cli.main(["template", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 13
    assert cli.main(["template", str(tmp_path)]) == 1
    assert "already" in capsys.readouterr().err


def test_the_command_says_its_version_and_loads_no_frames(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("evalkit 0.")
    module = [sys.executable, "-m", "evalkit", "--version"]
    assert subprocess.run(module, capture_output=True, check=True).stdout.startswith(b"evalkit 0.")
    code = "import sys, evalkit.cli; print([m for m in ('pandas', 'pandera') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_folder_that_is_absent_is_a_failure_not_a_crash(tmp_path):
    (line,) = folders.check(tmp_path / "nowhere")[folders.MANIFEST]
    assert "there is no folder" in line


def test_every_link_leads_to_a_key():
    for contract in TABLES.values():
        for column, target in contract.links.items():
            table, _, key = target.partition(".")
            assert column in contract.columns
            assert list(TABLES[table].key) == [key]


def test_every_column_is_labelled_in_both_languages_and_every_number_has_a_unit_or_is_a_count():
    for contract in TABLES.values():
        assert contract.zh
        for name, column in contract.columns.items():
            assert column.label, name
            assert column.zh, name
            assert column.unit or column.kind != "number" or name == "weight", name


def test_a_contract_error_is_still_one_per_table():
    with pytest.raises(ContractError, match="1 rule is broken"):
        folders.manifest("nowhere")
