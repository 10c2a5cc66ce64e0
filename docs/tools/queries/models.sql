-- every model, and the last decision on it
SELECT model_version, state, origin, listeners, items, moves[-1].since AS since, moves[-1].why AS why
FROM models ORDER BY run_date, model_version
