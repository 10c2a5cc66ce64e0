-- One row per listener, content type and night: the items of that type to play next, best first.
CREATE TABLE shelf_lists (
  run_date      DATE   NOT NULL COMMENT 'Night the list was computed for',
  bucket        INT    NOT NULL COMMENT 'Hash of user_id modulo the number of buckets; the same in every table keyed by user',
  user_id       STRING NOT NULL COMMENT 'Listener, as in listens',
  content_type  STRING NOT NULL COMMENT 'Content type of the items; one of ranking.shelf_types',
  items         ARRAY<STRUCT<item_id: STRING, score: FLOAT>> NOT NULL COMMENT 'The best of the type, ranking.shelf_items of them, best first; score by the factors as in ranked_lists, its shares of the largest among these; by a bridge its own; of popular items listeners',
  propensities  ARRAY<DOUBLE>          COMMENT 'As in ranked_lists, where places are drawn: reranking.new_type_places; null where none are',
  source        STRING NOT NULL COMMENT 'als; bridge where the listener has heard nothing of the type, and the bridge into it beats what is popular; market_popular or global_popular where it does not, or the listener has no factors',
  model_version STRING NOT NULL COMMENT 'Model the list depends on, as in models',
  candidates    INT    NOT NULL COMMENT 'Items of the type that could have been listed: in the model, by a bridge learned by it, eligible, not filtered as heard; count',
  digest        STRING NOT NULL COMMENT 'Hash of items and source: the same list has the same digest'
)
USING DELTA
PARTITIONED BY (run_date, bucket)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.source_known" = "source IN ('als', 'bridge', 'market_popular', 'global_popular')",
  "delta.constraints.content_type_known" = "content_type IN ('track', 'podcast_episode', 'audiobook', 'other')",
  "delta.constraints.candidates_counted" = "candidates >= 0",
  "delta.dataSkippingStatsColumns" = "content_type",
  "delta.enableDeletionVectors" = "false"
)
