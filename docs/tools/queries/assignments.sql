-- listeners of every arm on the last night
SELECT experiment, arm, count(*) AS listeners FROM assignments
WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published')
GROUP BY experiment, arm ORDER BY experiment, arm
