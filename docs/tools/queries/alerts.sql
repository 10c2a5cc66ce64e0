-- what is new tonight, roots first
SELECT severity, cause, segment, observed, expected, next_step
FROM alerts WHERE NOT silenced ORDER BY severity, "group" <> alert, cause
