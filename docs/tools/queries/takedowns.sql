-- items that each night may not list, and those that may be listed again
SELECT run_date, count(*) FILTER (NOT lifts) AS taken_down, count(*) FILTER (lifts) AS lifted, max(asked_at) AS last_asked
FROM takedowns GROUP BY ALL ORDER BY ALL
