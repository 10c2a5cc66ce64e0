-- by how much lists for listeners new to a type are better than what is popular of it, held-out listeners say
SELECT content_type, bridges.listeners, round(ndcg, 4) AS ndcg, round(popularity_ndcg, 4) AS popularity, beats_popularity
FROM bridges JOIN models ON models.model_version = bridges.model_version AND state = 'live'
ORDER BY content_type LIMIT 5
