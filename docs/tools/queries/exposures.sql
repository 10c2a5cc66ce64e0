-- what was shown on each surface, and how many items at a time
SELECT run_date, surface, arm, count(*) AS exposures, count(DISTINCT user_id) AS listeners, avg(len(items)) AS items
FROM exposures GROUP BY ALL ORDER BY ALL
