-- what did not hold
SELECT run_date, "table", expectation, severity, observed, "limit"
FROM validations WHERE outcome = 'failed' ORDER BY ALL
