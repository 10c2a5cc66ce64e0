-- how many lists were personal, and why pools were computed
SELECT run_date, listeners, personal, carried_from, reasons FROM rankings ORDER BY run_date
