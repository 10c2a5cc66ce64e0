-- decisions of every look, the last one first
SELECT experiment, treatment, day, outcome FROM experiment_results WHERE kind = 'decision'
ORDER BY experiment, treatment, day DESC
