-- the items whose texts are most alike to that of the first one
SELECT items.title, round(list_dot_product(one.embedding, other.embedding), 3) AS likeness
FROM item_texts AS one
JOIN item_texts AS other ON other.item_index <> one.item_index AND other.encoder = one.encoder
JOIN items ON items.item_id = other.item_id AND items.run_date = one.run_date
WHERE one.item_index = (SELECT min(item_index) FROM item_texts) ORDER BY likeness DESC, items.title LIMIT 5
