-- share of the listeners of an experiment whose lists the arms made different, so far
SELECT experiment, treatment, count(triggered_on) / count(*) AS triggered FROM triggers
WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published')
GROUP BY experiment, treatment ORDER BY experiment, treatment
