-- why events were rejected, and one of each
SELECT reason, count(*) AS events, min(raw) AS example
FROM quarantine WHERE run_date = '2025-01-03' GROUP BY ALL ORDER BY events DESC, reason
