-- where the time went
SELECT run_date, stage, round(seconds, 1) AS seconds, rows_written
FROM costs ORDER BY run_date, seconds DESC LIMIT 10
