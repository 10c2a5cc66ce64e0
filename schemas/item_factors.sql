-- One row per model and rankable item: its factors and its frozen popularity.
CREATE TABLE item_factors (
  run_date            DATE                NOT NULL COMMENT 'Night the model was trained on',
  model_version       STRING              NOT NULL COMMENT 'Model, as in models',
  item_index          INT                 NOT NULL COMMENT 'Column in the interaction matrix, as in item_index',
  item_id             STRING              NOT NULL COMMENT 'Item, as in listens',
  factors             ARRAY<FLOAT>        NOT NULL COMMENT 'Factors, unitless',
  confidence_weight   DOUBLE              NOT NULL COMMENT 'What every confidence in this item is multiplied by, unitless',
  score_multiplier    DOUBLE              NOT NULL COMMENT 'What the inner product is multiplied by to give the score, unitless',
  listeners           BIGINT              NOT NULL COMMENT 'Listeners who had heard it at training, count',
  market_listeners    MAP<STRING, BIGINT> NOT NULL COMMENT 'The same by market, count; listeners without a market are in none',
  neighbours          ARRAY<INT>          NOT NULL COMMENT 'Items that resemble it most, as in item_index, ascending',
  similarities        ARRAY<FLOAT>        NOT NULL COMMENT 'Weight of each of them as evidence of this item, aligned with them; the largest of all items is 1 or -1',
  predecessors        ARRAY<INT>          NOT NULL COMMENT 'Items after which it is heard most, as in item_index, ascending',
  predecessor_weights ARRAY<FLOAT>        NOT NULL COMMENT 'How often it is heard after each of them, by distance and held back by their listens, aligned with them; the largest of all items is 1'
)
USING DELTA
PARTITIONED BY (run_date, model_version)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.weights_positive" = "confidence_weight > 0 AND score_multiplier > 0",
  "delta.constraints.heard_by_someone" = "listeners > 0",
  "delta.dataSkippingStatsColumns" = "item_index",
  "delta.enableDeletionVectors" = "false"
)
