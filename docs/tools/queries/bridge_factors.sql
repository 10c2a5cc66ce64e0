-- the items that each bridge of the live model leads from and to
SELECT content_type, side, count(*) AS items, len(any_value(factors)) AS factors
FROM bridge_factors JOIN models ON models.model_version = bridge_factors.model_version AND state = 'live'
GROUP BY ALL ORDER BY content_type, side LIMIT 5
