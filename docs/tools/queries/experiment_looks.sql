-- minutes of a listener in each arm at the last look
SELECT experiment, arm, day, listeners, means['minutes'] AS minutes FROM experiment_looks
WHERE population = 'everyone' AND run_date = (SELECT max(run_date) FROM experiment_looks)
ORDER BY experiment, arm
