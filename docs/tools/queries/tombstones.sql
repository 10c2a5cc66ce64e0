-- erasures that were asked for, by day
SELECT run_date, count(*) AS erasures, min(why) AS a_reason FROM tombstones GROUP BY ALL ORDER BY ALL
