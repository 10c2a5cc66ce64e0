-- One row per listener and night: the list to play next, best first.
CREATE TABLE ranked_lists (
  run_date      DATE   NOT NULL COMMENT 'Night the list was computed for: listens ingested up to and including it',
  bucket        INT    NOT NULL COMMENT 'Hash of user_id modulo the number of buckets; the same in every table keyed by user',
  user_id       STRING NOT NULL COMMENT 'Listener, as in listens',
  market        STRING          COMMENT 'Market whose eligibility rules were applied; null if the listener has none',
  arm           STRING NOT NULL COMMENT 'Experiment and arm of the listener, as experiment/arm; control for who is in none',
  items         ARRAY<STRUCT<item_id: STRING, score: DOUBLE>> NOT NULL COMMENT 'Items, best first; score adds those of factors and neighbourhood, each as a share of the largest among the candidates, or is the one of the factors alone in models without neighbours; in popular lists the number of listeners, in previous ones the place from the end',
  propensities  ARRAY<DOUBLE>          COMMENT 'Probability of each item given those above it and the rest of the list that was not drawn: 1 unless its place was; null if nothing was drawn',
  cold          ARRAY<INT>             COMMENT 'Places in items, from 0, of those that the model knows by their text alone: nobody had heard them when it was trained; null if there are none',
  source        STRING NOT NULL COMMENT 'als, previous, market_popular or global_popular',
  model_version STRING NOT NULL COMMENT 'Model the list depends on, as in models',
  candidates    INT    NOT NULL COMMENT 'Items that could have been listed: in the model, eligible, not filtered as heard; count',
  digest        STRING NOT NULL COMMENT 'Hash of items and source: the same list has the same digest'
)
USING DELTA
PARTITIONED BY (run_date, bucket)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.source_known" = "source IN ('als', 'previous', 'market_popular', 'global_popular')",
  "delta.constraints.candidates_counted" = "candidates >= 0",
  "delta.dataSkippingStatsColumns" = "source",
  "delta.enableDeletionVectors" = "false"
)
