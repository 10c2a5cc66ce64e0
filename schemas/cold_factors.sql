-- One row per model and item that it knows by its text alone: append-only, the same for as long as the model is used.
CREATE TABLE cold_factors (
  run_date         DATE         NOT NULL COMMENT 'Night from which on the model ranks it',
  model_version    STRING       NOT NULL COMMENT 'Model, as in models',
  item_index       INT          NOT NULL COMMENT 'Item, as in item_index',
  item_id          STRING       NOT NULL COMMENT 'Item, as in the catalogue',
  factors          ARRAY<FLOAT> NOT NULL COMMENT 'Factors that its text suggests, on the axes of the model, unitless',
  score_multiplier DOUBLE       NOT NULL COMMENT 'What the inner product is multiplied by to give the score, unitless',
  neighbours       ARRAY<INT>   NOT NULL COMMENT 'Items of the model that its text resembles most, as in item_index, ascending',
  similarities     ARRAY<FLOAT> NOT NULL COMMENT 'Weight of each of them as evidence of this item, aligned with them',
  text_digest      STRING       NOT NULL COMMENT 'Text that they were worked out from, as in item_texts',
  digest           STRING       NOT NULL COMMENT 'Hash of the model, the text, the factors and the neighbours'
)
USING DELTA
PARTITIONED BY (run_date, model_version)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.multiplier_positive" = "score_multiplier > 0",
  "delta.dataSkippingStatsColumns" = "item_index",
  "delta.enableDeletionVectors" = "false"
)
