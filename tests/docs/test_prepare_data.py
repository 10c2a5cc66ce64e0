"""A data set as it is published becomes what `nocturne import` reads."""

from datetime import date

from docs.tools.prepare_data import PREPARE
from nocturne.ingestion.importers import IMPORTERS


def prepared(name, tmp_path, published):
    """The folder that a published file becomes, after it was imported, and the summary of that."""
    source, folder = tmp_path / "published.txt", tmp_path / "prepared"
    source.write_text(published, encoding="utf-8")
    folder.mkdir()
    PREPARE[name](source, folder)
    return folder, IMPORTERS[name](folder, tmp_path / "landing", date(2011, 1, 1))


def test_a_sheet_of_orders_becomes_a_file_a_day_whose_rows_are_unchanged_but_for_the_form_of_the_time(tmp_path):
    folder, summary = prepared(
        "online-retail",
        tmp_path,
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        '536365,85123A,"HEART, WHITE",6,12/1/2010 8:26,2.55,17850.0,United Kingdom\n'
        "C536379,D,,-1,12/2/2010 9:41,27.50,,United Kingdom\n",
    )
    assert (folder / "2010-12-01.csv").read_text().splitlines()[1] == (
        '536365,85123A,"HEART, WHITE",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom'
    )
    assert (folder / "2010-12-02.csv").read_text().splitlines()[1] == (
        "C536379,D,,-1,2010-12-02 09:41:00,27.50,,United Kingdom"
    )
    assert summary.rows == 2
    assert summary.days == (date(2010, 12, 1), date(2010, 12, 2))


def test_a_listening_history_becomes_listens_with_numbers_for_songs_and_artists(tmp_path):
    folder, summary = prepared(
        "lastfm-1k",
        tmp_path,
        "user_000001\t2009-05-04T23:08:57Z\tf1b1\tDeep Dish\t\tFlashdance\n"
        "user_000001\t2009-05-04T13:54:10Z\ta7f7\t坂本龍一\t\tComposition 0919\n"
        "user_000002\t2009-05-05T00:00:00Z\tf1b1\tDeep Dish\t\tFlashdance\n",
    )
    assert (folder / "listens.csv").read_text().splitlines() == [
        "000001-,0-0,1,1241478537000",
        "000001-,1-1,1,1241445250000",
        "000002-,0-0,1,1241481600000",
    ]
    assert (summary.rows, summary.items) == (3, 2)


def test_a_tenth_of_each_users_visits_becomes_the_valid_part(tmp_path):
    (tmp_path / "test.txt").write_text("0 99\n")
    folder, summary = prepared(
        "gowalla", tmp_path, f"0 {' '.join(map(str, range(20)))}\n1 {' '.join(map(str, range(5)))}\n2\n"
    )
    train, valid = (
        [line.split() for line in (folder / f"{part}.txt").read_text().splitlines()] for part in ("train", "valid")
    )
    assert [len(line) - 1 for line in valid] == [2, 0, 0]
    assert sorted(map(int, train[0][1:] + valid[0][1:])) == list(range(20))
    assert (folder / "test.txt").read_text() == "0 99\n"
    assert summary.rows == 25
