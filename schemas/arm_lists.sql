-- One row per listener of an experiment, arm and night: the list of the arm, also of those who are served another's.
CREATE TABLE arm_lists (
  run_date      DATE   NOT NULL COMMENT 'Night the list was computed for',
  bucket        INT    NOT NULL COMMENT 'Hash of user_id modulo the number of buckets; the same in every table keyed by user',
  experiment    STRING NOT NULL COMMENT 'Experiment, by the name of its file; holdback for those whom no experiment may have',
  arm           STRING NOT NULL COMMENT 'Arm whose list it is; interleaved for one drafted from the lists of both arms',
  user_id       STRING NOT NULL COMMENT 'Listener, as in listens',
  market        STRING          COMMENT 'As in ranked_lists',
  items         ARRAY<STRUCT<item_id: STRING, score: DOUBLE>> NOT NULL COMMENT 'As in ranked_lists; in drafted lists the score is the place from the end',
  propensities  ARRAY<DOUBLE>          COMMENT 'As in ranked_lists',
  cold          ARRAY<INT>             COMMENT 'Places in items, from 0, of those that the model knows by their text alone: nobody had heard them when it was trained; null if there are none',
  source        STRING NOT NULL COMMENT 'As in ranked_lists; in drafted lists that of the list of control',
  model_version STRING NOT NULL COMMENT 'Model the list depends on, as in models; in drafted lists that of control',
  candidates    INT    NOT NULL COMMENT 'As in ranked_lists',
  digest        STRING NOT NULL COMMENT 'As in ranked_lists',
  teams         ARRAY<STRING>          COMMENT 'Arm that drafted each item; null in lists that were not drafted',
  draft_seed    BIGINT                 COMMENT 'Seed of the draft of a listener and night; null in lists that were not drafted'
)
USING DELTA
PARTITIONED BY (run_date, bucket, experiment, arm)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.source_known" = "source IN ('als', 'previous', 'market_popular', 'global_popular')",
  "delta.constraints.drafted_with_a_seed" = "teams IS NULL OR draft_seed IS NOT NULL",
  "delta.dataSkippingStatsColumns" = "source",
  "delta.enableDeletionVectors" = "false"
)
