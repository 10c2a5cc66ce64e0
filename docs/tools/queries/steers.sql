-- plans that hold on each night, and when they were asked for
SELECT run_date, count(*) AS plans, count(DISTINCT digest) AS different_plans, min(asked_at) AS first_asked
FROM steers GROUP BY ALL ORDER BY ALL
