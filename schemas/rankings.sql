-- One row per night: what ranking every listener came to; listeners = personal + fallbacks.
CREATE TABLE rankings (
  run_date      DATE                NOT NULL COMMENT 'Night',
  model_version STRING                       COMMENT 'Model, as in models; null before there is one',
  listeners     BIGINT              NOT NULL COMMENT 'Lists written, count',
  personal      BIGINT              NOT NULL COMMENT 'Lists from the factors of their listeners, count',
  audited       BIGINT              NOT NULL COMMENT 'Pools proved by scoring every item in float64, count',
  mismatches    BIGINT              NOT NULL COMMENT 'Of these, pools that were not what that gave; then everyone was computed afresh, count',
  unexplained   BIGINT              NOT NULL COMMENT 'Mismatches without a recorded change of the night that pools were carried over from, count',
  carried_from  DATE                         COMMENT 'Night whose pools were carried over; null when everyone was computed afresh (measured)',
  reasons       MAP<STRING, BIGINT> NOT NULL COMMENT 'Listeners by why their pool was computed, or carried, or by the source of a list without factors, count (measured)',
  way           STRING              NOT NULL COMMENT 'How the exact top was found (measured)',
  seconds       MAP<STRING, DOUBLE> NOT NULL COMMENT 'Processor time of all tasks by what it was spent on, seconds (measured)',
  experiments   MAP<STRING, STRING> NOT NULL COMMENT 'Experiments that ran on the night, and the hash of what must not change of each while it does',
  bytes         BIGINT              NOT NULL COMMENT 'Size of the files written, bytes (measured)'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.nobody_twice" = "personal <= listeners",
  "delta.enableDeletionVectors" = "false"
)
