-- the items that most people listened to on one night, with their titles
SELECT item_id, title, count(DISTINCT user_id) AS listeners, sum(plays) AS plays
FROM listens LEFT JOIN items USING (run_date, item_id)
WHERE run_date = '2025-01-03' GROUP BY ALL ORDER BY listeners DESC, item_id LIMIT 5
