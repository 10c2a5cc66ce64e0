-- items that nobody had heard when the live model was trained, and how often they are listed all the same
WITH listed AS (
  SELECT unnest(items).item_id AS item_id FROM ranked_lists
  WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published'))
SELECT items.title, items.creator, count(listed.item_id) AS lists
FROM cold_factors
JOIN models ON models.model_version = cold_factors.model_version AND state = 'live'
JOIN items ON items.item_id = cold_factors.item_id AND items.run_date = cold_factors.run_date
LEFT JOIN listed ON listed.item_id = cold_factors.item_id
GROUP BY ALL ORDER BY lists DESC, items.title LIMIT 5
