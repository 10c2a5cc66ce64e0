-- One row per array of a sequence model's network, which encodes a listener's last listens; none of other models.
CREATE TABLE encoders (
  run_date      DATE         NOT NULL COMMENT 'Night the model was trained on',
  model_version STRING       NOT NULL COMMENT 'Model, as in models',
  name          STRING       NOT NULL COMMENT 'Array: axes, from embeddings to factors; end/scale; and of block b b/query, b/key, b/value, b/mix, b/distance, b/attend/scale, b/attend/gate, b/feed/scale, b/feed/up, b/feed/down and b/feed/gate',
  shape         ARRAY<INT>   NOT NULL COMMENT 'Its dimensions, count',
  numbers       ARRAY<FLOAT> NOT NULL COMMENT 'Its numbers, row by row, unitless'
)
USING DELTA
PARTITIONED BY (run_date, model_version)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.name_given" = "name <> ''",
  "delta.dataSkippingStatsColumns" = "name",
  "delta.enableDeletionVectors" = "false"
)
