-- what became of every row that was read
SELECT run_date, rows_read, listens, duplicates, quarantined, reasons FROM ingests ORDER BY run_date
