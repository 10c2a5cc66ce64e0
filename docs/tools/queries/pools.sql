-- how long ago the pools of the last published night were computed
SELECT computed_on, source, count(*) AS listeners, avg(len(items)) AS items
FROM pools WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published') GROUP BY ALL ORDER BY ALL
