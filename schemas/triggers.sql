-- One row per listener of an experiment, arm beside control and night: whether the two lists were ever different.
CREATE TABLE triggers (
  run_date         DATE   NOT NULL COMMENT 'Night',
  bucket           INT    NOT NULL COMMENT 'Hash of user_id modulo the number of buckets; the same in every table keyed by user',
  user_id          STRING NOT NULL COMMENT 'Listener, as in listens',
  experiment       STRING NOT NULL COMMENT 'Experiment, by the name of its file',
  arm              STRING NOT NULL COMMENT 'Arm that the listener is in',
  treatment        STRING NOT NULL COMMENT 'Arm whose list is compared with that of control, whichever of them is served',
  triggered_on     DATE            COMMENT 'First night of the experiment on which the two lists were different; null until then',
  first_difference INT             COMMENT 'First place, from 1, at which the lists of the night are different; null if they are the same',
  shared           INT    NOT NULL COMMENT 'Items that the two lists of the night have in common, count'
)
USING DELTA
PARTITIONED BY (run_date, bucket)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.different_is_triggered" = "first_difference IS NULL OR triggered_on IS NOT NULL",
  "delta.constraints.treatment_is_not_control" = "treatment <> 'control'",
  "delta.dataSkippingStatsColumns" = "experiment",
  "delta.enableDeletionVectors" = "false"
)
