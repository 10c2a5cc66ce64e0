-- pools of the arms, and the nights on which they were computed
SELECT experiment, arm, computed_on, count(*) AS pools FROM arm_pools
WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published')
GROUP BY experiment, arm, computed_on ORDER BY experiment, arm, computed_on
