-- One row per night and stage: what its last run took.
CREATE TABLE costs (
  run_date      DATE   NOT NULL COMMENT 'Night',
  stage         STRING NOT NULL COMMENT 'Stage of the flow, as in nocturne/flow.py',
  seconds       DOUBLE NOT NULL COMMENT 'Time from its start to its last commit, seconds (measured)',
  rows_read     BIGINT NOT NULL COMMENT 'Rows it had before it, count (measured)',
  rows_written  BIGINT NOT NULL COMMENT 'Rows of the night in the tables it writes, count (measured)',
  bytes_written BIGINT NOT NULL COMMENT 'Size of the data files of these rows, bytes (measured)'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.seconds_counted" = "seconds >= 0",
  "delta.enableDeletionVectors" = "false"
)
