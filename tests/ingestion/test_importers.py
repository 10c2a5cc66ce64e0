"""Importers: every source row reaches the landing zone as it is, and no half-written day looks complete."""

import json
import tarfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from nocturne.core.errors import InputError, UsageError
from nocturne.ingestion.importers import IMPORTERS
from nocturne.ingestion.importers.landing_writer import Record, claim_landing, publish_rows

DAY = date(2011, 1, 1)
RETAIL_HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source" / "nested"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "landing"


def events(landing: Path, day: str) -> list[dict[str, str]]:
    lines = (landing / "events" / f"date={day}" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def items(landing: Path) -> list[dict[str, object]]:
    lines = (landing / "items" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def mark(landing: Path, day: str) -> str:
    return (landing / "events" / f"date={day}" / "_SUCCESS").read_text(encoding="ascii")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_retail(folder: Path, **days: str) -> None:
    for day, rows in days.items():
        (folder / f"{day[1:].replace('_', '-')}.csv").write_text(RETAIL_HEADER + rows, encoding="utf-8")


def test_a_retail_row_is_an_event_with_its_values_untouched(source: Path, landing: Path) -> None:
    write_retail(source, d2010_12_01="C536379,22423,CAKESTAND,-6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n")
    IMPORTERS["online-retail"](source.parent, landing, DAY)
    (event,) = events(landing, "2010-12-01")
    assert len(event.pop("event_id")) == 32
    assert event == {
        "user_id": "17850.0",
        "item_id": "22423",
        "listened_at": "2010-12-01T08:26:00Z",
        "plays": "-6",
        "market": "United Kingdom",
    }


def test_a_retail_row_without_a_customer_lands_without_a_user_id(source: Path, landing: Path) -> None:
    write_retail(source, d2010_12_01="536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom\n")
    IMPORTERS["online-retail"](source, landing, DAY)
    assert "user_id" not in events(landing, "2010-12-01")[0]


def test_retail_rows_share_an_event_id_only_if_every_column_is_equal(source: Path, landing: Path) -> None:
    row = "536409,21866,FLAG MUG,1,2010-12-01 11:45:00,1.25,17908.0,United Kingdom\n"
    other_price = row.replace("1.25", "1.65")
    write_retail(source, d2010_12_01=row + row + other_price, d2010_12_02=row)
    IMPORTERS["online-retail"](source, landing, DAY)
    first, twin, other = (event["event_id"] for event in events(landing, "2010-12-01"))
    assert first == twin == events(landing, "2010-12-02")[0]["event_id"]
    assert other != first


def test_days_of_the_calendar_without_a_file_become_empty_complete_days(source: Path, landing: Path) -> None:
    row = "1,A,MUG,1,2010-12-01 11:45:00,1.25,1.0,France\n"
    write_retail(source, d2010_12_01=row + row, d2010_12_04=row)
    summary = IMPORTERS["online-retail"](source, landing, DAY)
    assert [mark(landing, f"2010-12-0{day}") for day in (1, 2, 3, 4)] == ["2", "0", "0", "1"]
    assert [path.name for path in (landing / "events" / "date=2010-12-02").iterdir()] == ["_SUCCESS"]
    assert (summary.days, summary.rows, summary.items) == ((date(2010, 12, 1), date(2010, 12, 4)), 3, 1)


def test_two_files_of_one_day_are_an_input_error(source: Path, landing: Path) -> None:
    for folder in (source, source.parent):
        write_retail(folder, d2010_12_01="1,A,MUG,1,2010-12-01 11:45:00,1.25,1.0,France\n")
    with pytest.raises(InputError, match="twice"):
        IMPORTERS["online-retail"](source.parent, landing, DAY)


def test_a_product_is_titled_by_its_most_frequent_description_ties_by_alphabet(source: Path, landing: Path) -> None:
    row = "1,{},{},1,2010-12-01 11:45:00,1.25,1.0,France\n"
    named = [("A", "damaged"), ("A", '"MUG, RED "'), ("A", '"MUG, RED"'), ("B", "TRAY"), ("B", "SAUCER"), ("C", "")]
    write_retail(source, d2010_12_01="".join(row.format(*product) for product in named))
    IMPORTERS["online-retail"](source, landing, DAY)
    assert [(item["item_id"], item.get("title")) for item in items(landing)] == [
        ("A", "MUG, RED"),
        ("B", "SAUCER"),
        ("C", None),
    ]


def write_lastfm_2k(folder: Path) -> None:
    (folder / "user_artists.dat").write_bytes(b"userID\tartistID\tweight\r\n2\t51\t13883\r\n2\t52\t11690\r\n")
    (folder / "artists.dat").write_bytes(
        'id\tname\turl\tpictureURL\n51\tSigur "Rós"\thttp://a\thttp://b\n52\tMorcheeba\thttp://a\n'.encode()
    )
    (folder / "tags.dat").write_bytes(
        "tagID\ttagValue\r\n1\tchillout\r\n2\tkünstler\r\n3\tambient\r\n".encode("latin-1")
    )
    (folder / "user_taggedartists.dat").write_bytes(
        b"userID\tartistID\ttagID\tday\tmonth\tyear\n"
        b"2\t51\t1\t1\t4\t2009\n2\t51\t2\t1\t4\t2009\n3\t51\t2\t1\t4\t2009\n3\t51\t3\t1\t4\t2009\n"
    )


def test_lastfm_2k_plays_land_on_the_given_day_with_their_weight(source: Path, landing: Path) -> None:
    write_lastfm_2k(source)
    summary = IMPORTERS["lastfm-2k"](source, landing, DAY)
    rows = [{name: value for name, value in event.items() if name != "event_id"} for event in events(landing, str(DAY))]
    assert rows == [
        {"user_id": "2", "item_id": "51", "listened_at": "2011-01-01T00:00:00Z", "plays": "13883"},
        {"user_id": "2", "item_id": "52", "listened_at": "2011-01-01T00:00:00Z", "plays": "11690"},
    ]
    assert str(DAY) in summary.note


def test_lastfm_2k_artists_carry_the_tags_most_listeners_gave_them(source: Path, landing: Path) -> None:
    write_lastfm_2k(source)
    IMPORTERS["lastfm-2k"](source, landing, DAY)
    assert items(landing) == [
        {
            "item_id": "51",
            "content_type": "other",
            "title": 'Sigur "Rós"',
            "creator": 'Sigur "Rós"',
            "tags": ["künstler", "ambient", "chillout"],
        },
        {"item_id": "52", "content_type": "other", "title": "Morcheeba", "creator": "Morcheeba"},
    ]


def test_lastfm_1k_rows_of_one_listen_share_an_event_id_and_land_on_its_day(source: Path, landing: Path) -> None:
    (source / "listens.csv").write_text(
        "2-1009,10-16063,1,1241362105123\n2-1011,10-16063,1,1241362105123\n2-10,11-16063,1,1241535600000\n",
        encoding="utf-8",
    )
    summary = IMPORTERS["lastfm-1k"](source, landing, DAY)
    first, again = events(landing, "2009-05-03")
    assert first == again
    assert (first["user_id"], first["item_id"], first["listened_at"]) == ("2", "10", "2009-05-03T14:48:25.123Z")
    assert [mark(landing, f"2009-05-0{day}") for day in (3, 4, 5)] == ["2", "0", "1"]
    assert summary.rows == 3
    assert items(landing)[0] == {"item_id": "10", "content_type": "track", "creator": "16063"}


def test_lastfm_1k_rows_that_are_no_listens_are_left_out_and_counted(source: Path, landing: Path) -> None:
    (source / "listens.csv").write_text("2-9,10-16,1,1241362105000\n2-9,11-16,0,1241362105000\n", encoding="utf-8")
    summary = IMPORTERS["lastfm-1k"](source, landing, DAY)
    assert summary.rows == 1
    assert "1 rows with another label" in summary.note


def test_lastfm_1k_rows_whose_time_cannot_be_read_land_on_the_first_day_as_they_are(
    source: Path, landing: Path
) -> None:
    (source / "listens.csv").write_text("2-9,10-16,1,noon\n2-9,10-16,1,1241362105000\n", encoding="utf-8")
    IMPORTERS["lastfm-1k"](source, landing, DAY)
    assert [event["listened_at"] for event in events(landing, "2009-05-03")] == ["noon", "2009-05-03T14:48:25.000Z"]


def test_gowalla_lands_train_and_valid_and_never_reads_the_test_pairs(source: Path, landing: Path) -> None:
    (source / "train.txt").write_text("0 7 8\n1\n", encoding="utf-8")
    (source / "valid.txt").write_text("0 9\n", encoding="utf-8")
    (source / "test.txt").write_bytes(b"\xff\xfe no text at all")
    IMPORTERS["gowalla"](source, landing, date(2012, 2, 3))
    pairs = [(event["user_id"], event["item_id"]) for event in events(landing, "2012-02-03")]
    assert pairs == [("0", "7"), ("0", "8"), ("0", "9")]
    assert list((landing / "items").iterdir()) == []


def test_an_archive_and_its_folder_give_the_same_bytes_however_often(source: Path, tmp_path: Path) -> None:
    write_lastfm_2k(source)
    archive = tmp_path / "lastfm-2k.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
        file.add(source, arcname="lastfm-2k")
    IMPORTERS["lastfm-2k"](source, tmp_path / "one", DAY)
    IMPORTERS["lastfm-2k"](archive, tmp_path / "two", DAY)
    IMPORTERS["lastfm-2k"](archive, tmp_path / "two", DAY)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize(
    ("name", "looked_for"),
    [
        ("lastfm-2k", "user_artists.dat"),
        ("online-retail", r"\?\?\?\?-\?\?-\?\?.csv"),
        ("lastfm-1k", "listens.csv"),
        ("gowalla", "train.txt"),
    ],
)
def test_a_folder_without_the_files_is_an_input_error_that_names_them(
    name: str, looked_for: str, source: Path, landing: Path
) -> None:
    (source / "other.txt").touch()
    with pytest.raises(InputError, match=looked_for):
        IMPORTERS[name](source, landing, DAY)
    assert not landing.exists()


def test_a_source_that_does_not_exist_is_a_settings_error(tmp_path: Path, landing: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.tar\.xz"):
        IMPORTERS["gowalla"](tmp_path / "absent.tar.xz", landing, DAY)


def test_an_archive_of_another_data_set_is_named_with_what_it_holds(
    source: Path, tmp_path: Path, landing: Path
) -> None:
    write_lastfm_2k(source)
    archive = tmp_path / "lastfm-2k.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
        file.add(source, arcname="lastfm-2k")
    with pytest.raises(InputError, match=r"lastfm-2k\.tar\.xz\n.*artists\.dat.*\n.*train\.txt"):
        IMPORTERS["gowalla"](archive, landing, DAY)


def test_an_archive_is_unpacked_without_what_newer_pythons_brought_and_writes_nothing_beside_its_folder(
    source: Path, tmp_path: Path, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_3_11_2(_archive: tarfile.TarFile, path: str = ".", members: object = None, *, numeric_owner: bool = False):
        raise AssertionError(f"unpacked all of {members} to {path}, {numeric_owner}")

    monkeypatch.setattr(tarfile.TarFile, "extractall", of_3_11_2)
    write_lastfm_2k(source)
    evil = tarfile.TarInfo("../evil.txt")
    archive = tmp_path / "lastfm-2k.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
        file.addfile(evil)
        file.add(source, "./lastfm-2k")
    IMPORTERS["lastfm-2k"](archive, landing, DAY)
    assert landing.exists()
    assert not list(tmp_path.rglob("evil.txt"))


def test_an_archive_cut_short_is_an_input_error(source: Path, tmp_path: Path, landing: Path) -> None:
    write_lastfm_2k(source)
    archive = tmp_path / "cut.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
        file.add(source, arcname="lastfm-2k")
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cut\.tar\.xz"):
        IMPORTERS["lastfm-2k"](archive, landing, DAY)


def test_a_file_with_other_columns_is_an_input_error_that_shows_both(source: Path, landing: Path) -> None:
    (source / "2010-12-01.csv").write_text(RETAIL_HEADER.replace(",", ";"), encoding="utf-8")
    with pytest.raises(InputError, match=r"InvoiceNo;StockCode.*\n.*InvoiceNo,StockCode"):
        IMPORTERS["online-retail"](source, landing, DAY)


def test_a_producer_killed_half_way_leaves_no_day_that_looks_complete(landing: Path) -> None:
    def dies() -> Iterator[Record]:
        yield {"event_id": "1"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_rows(landing, DAY, dies())
    assert not (landing / "events" / "date=2011-01-01").exists()
    publish_rows(landing, DAY, [{"event_id": "2"}])
    assert contents(landing) == {
        "events/date=2011-01-01/_SUCCESS": b"1",
        "events/date=2011-01-01/events.jsonl": b'{"event_id":"2"}\n',
    }


def test_a_landing_zone_of_another_producer_is_refused_untouched(source: Path, landing: Path) -> None:
    write_lastfm_2k(source)
    IMPORTERS["lastfm-2k"](source, landing, DAY)
    landed = contents(landing)
    with pytest.raises(UsageError, match="lastfm-2k"):
        claim_landing(landing, "gowalla")
    assert contents(landing) == landed


def test_a_landing_zone_with_files_of_unknown_origin_is_refused(landing: Path) -> None:
    (landing / "items").mkdir(parents=True)
    (landing / "items" / "mine.csv").touch()
    with pytest.raises(UsageError, match="unknown origin"):
        claim_landing(landing, "gowalla")
