-- the items that most listeners had heard when the live model was trained
SELECT item_id, item_factors.listeners, len(factors) AS factors, len(neighbours) AS neighbours
FROM item_factors JOIN models USING (run_date, model_version)
WHERE state = 'live' ORDER BY item_factors.listeners DESC, item_id LIMIT 5
