-- One row per listener of an experiment with a personal list, arm other than control and night: as in pools.
CREATE TABLE arm_pools (
  run_date      DATE          NOT NULL COMMENT 'Night the pool stands for',
  bucket        INT           NOT NULL COMMENT 'Hash of user_id modulo the number of buckets; the same in every table keyed by user',
  experiment    STRING        NOT NULL COMMENT 'Experiment, by the name of its file; holdback for those whom no experiment may have',
  arm           STRING        NOT NULL COMMENT 'Arm whose pool it is',
  user_id       STRING        NOT NULL COMMENT 'Listener, as in listens',
  source        STRING        NOT NULL COMMENT 'As in pools',
  items         ARRAY<INT>    NOT NULL COMMENT 'As in pools',
  scores        ARRAY<DOUBLE> NOT NULL COMMENT 'As in pools',
  listed        ARRAY<INT>    NOT NULL COMMENT 'As in pools',
  shelf_items   ARRAY<INT>    NOT NULL COMMENT 'Empty: arms have no lists of content types',
  shelf_scores  ARRAY<FLOAT>  NOT NULL COMMENT 'Empty',
  row_digest    STRING        NOT NULL COMMENT 'As in pools',
  model_version STRING        NOT NULL COMMENT 'As in pools',
  build         STRING        NOT NULL COMMENT 'As in pools',
  rankable      STRING        NOT NULL COMMENT 'As in pools',
  valid_until   DATE                   COMMENT 'As in pools',
  factors       ARRAY<FLOAT>           COMMENT 'As in pools',
  norm          DOUBLE                 COMMENT 'As in pools',
  bound         DOUBLE                 COMMENT 'As in pools (measured)',
  computed_on   DATE          NOT NULL COMMENT 'As in pools (measured)'
)
USING DELTA
PARTITIONED BY (run_date, bucket, experiment, arm)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.source_known" = "source IN ('als', 'previous')",
  "delta.dataSkippingStatsColumns" = "source",
  "delta.enableDeletionVectors" = "false"
)
