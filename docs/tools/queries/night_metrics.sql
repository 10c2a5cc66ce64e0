-- a metric over the nights
SELECT run_date, segment, value, count
FROM night_metrics WHERE "table" = 'ranked_lists' AND metric = 'churn' AND segment_kind = 'all' ORDER BY ALL
