-- One row per night: what was read and what became of it; rows_read = listens + duplicates + quarantined + erased.
CREATE TABLE ingests (
  run_date    DATE                NOT NULL COMMENT 'Night',
  rows_read   BIGINT              NOT NULL COMMENT 'Rows in the landing files of the day, count',
  listens     BIGINT              NOT NULL COMMENT 'Rows accepted, count',
  duplicates  BIGINT              NOT NULL COMMENT 'Valid rows dropped because their event_id was seen before, count',
  quarantined BIGINT              NOT NULL COMMENT 'Rows rejected, count',
  erased      BIGINT              NOT NULL COMMENT 'Rows of listeners who were erased: not taken in, or gone since, count',
  late        BIGINT              NOT NULL COMMENT 'Accepted rows of earlier days, count',
  listeners   BIGINT              NOT NULL COMMENT 'Distinct listeners among the accepted rows, count',
  reasons     MAP<STRING, BIGINT> NOT NULL COMMENT 'Rows rejected by reason, count; reasons without rows are absent'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.nothing_lost" = "rows_read = listens + duplicates + quarantined + erased",
  "delta.enableDeletionVectors" = "false"
)
