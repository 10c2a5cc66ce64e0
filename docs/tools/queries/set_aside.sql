SELECT run_date, count(*) AS listeners, sum(listens) AS listens_set_aside, count_if(older) AS listeners_with_older_sums
FROM set_aside GROUP BY ALL ORDER BY ALL
