-- the catalogue of the last published night, by kind
SELECT content_type, count(*) AS items, count(title) AS titled
FROM items WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published') GROUP BY ALL ORDER BY ALL
