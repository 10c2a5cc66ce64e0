-- the lists of every arm for one listener of an experiment, best first
SELECT experiment, arm, [entry.item_id FOR entry IN items][1:5] AS best FROM arm_lists
WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published')
ORDER BY experiment, user_id, arm LIMIT 5
