-- One row per model, content type and item of a bridge that beats popularity: the same for as long as the model is used.
CREATE TABLE bridge_factors (
  run_date      DATE         NOT NULL COMMENT 'Night that the bridge was built, as in bridges',
  model_version STRING       NOT NULL COMMENT 'Model, as in models',
  content_type  STRING       NOT NULL COMMENT 'Content type that the bridge leads into, as in bridges',
  side          STRING       NOT NULL COMMENT 'source: an item of another type; target: an item of this type',
  item_index    INT          NOT NULL COMMENT 'Item, as in item_index',
  factors       ARRAY<FLOAT> NOT NULL COMMENT 'Of a source its place on the axes of taste, whose sum over what a listener heard, made length 1, is the listener; of a target its coefficients on these axes and, last, its intercept; the score is their inner product and the intercept'
)
USING DELTA
PARTITIONED BY (run_date, model_version)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.side_known" = "side IN ('source', 'target')",
  "delta.dataSkippingStatsColumns" = "item_index",
  "delta.enableDeletionVectors" = "false"
)
