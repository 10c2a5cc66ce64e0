-- One row per listener of an experiment and night: the arm that they are in.
CREATE TABLE assignments (
  run_date   DATE   NOT NULL COMMENT 'Night whose lists are those of the arm',
  bucket     INT    NOT NULL COMMENT 'Hash of user_id modulo the number of buckets; the same in every table keyed by user',
  user_id    STRING NOT NULL COMMENT 'Listener, as in listens',
  experiment STRING NOT NULL COMMENT 'Experiment, by the name of its file; holdback for those whom no experiment may have',
  arm        STRING NOT NULL COMMENT 'Arm that the listener is counted in; the same on every night of the experiment'
)
USING DELTA
PARTITIONED BY (run_date, bucket)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.experiment_given" = "experiment <> ''",
  "delta.constraints.arm_given" = "arm <> ''",
  "delta.dataSkippingStatsColumns" = "experiment",
  "delta.enableDeletionVectors" = "false"
)
