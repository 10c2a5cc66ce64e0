-- one listener's audiobooks, best first, with titles
SELECT place, listed.item_id, title, creator, listed.score
FROM (
    SELECT run_date, unnest(items) AS listed, unnest(range(1, len(items) + 1)) AS place
    FROM shelf_lists WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published')
        AND user_id = 'u00000007' AND content_type = 'audiobook'
) AS list LEFT JOIN items ON items.run_date = list.run_date AND items.item_id = listed.item_id
ORDER BY place LIMIT 5
