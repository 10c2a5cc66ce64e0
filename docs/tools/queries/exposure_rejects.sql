-- why exposures were rejected, by writer, and one of each
SELECT run_date, writer, reason, count(*) AS exposures, min(raw) AS example
FROM exposure_rejects GROUP BY ALL ORDER BY ALL
