-- what a listener has heard most, decayed
SELECT item_id, title, round(play_sum / 2^20, 2) AS plays, last_heard
FROM (
    SELECT run_date, unnest(item_indexes) AS item_index, unnest(play_sums) AS play_sum, unnest(last_heard) AS last_heard
    FROM interactions WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published') AND user_id = 'u00000007'
) JOIN item_index USING (item_index) LEFT JOIN items USING (run_date, item_id)
ORDER BY plays DESC, item_id LIMIT 5
