-- the items that came with each night
SELECT first_night, count(*) AS items, min(item_index) AS first_index
FROM item_index GROUP BY ALL ORDER BY ALL
