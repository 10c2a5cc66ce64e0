-- what goes best with each item of the last published night, by title
SELECT items.title, related_items.content_type, related.title AS goes_with, related_items.items[1].score AS score
FROM related_items
JOIN items USING (run_date, item_id)
JOIN items AS related ON related.run_date = related_items.run_date AND related.item_id = related_items.items[1].item_id
WHERE run_date = (SELECT max(run_date) FROM nights WHERE state = 'published') ORDER BY ALL LIMIT 10
