-- One row per night and writer of exposures: what was counted and what became of it; lines = accepted + duplicates + rejected + erased.
CREATE TABLE exposure_ingests (
  run_date   DATE                NOT NULL COMMENT 'Night',
  writer     STRING              NOT NULL COMMENT 'Folder of the writer on the landing day; `.` is the folder of the day itself, where it cannot be read',
  state      STRING              NOT NULL COMMENT 'complete, as its mark announces; unfinished, without a mark; torn, where lines lack or cannot be read',
  remarks    ARRAY<STRING>       NOT NULL COMMENT 'What keeps it from being complete, each file by its name',
  announced  BIGINT                       COMMENT 'Rows that its mark announces, count; null without one that can be read',
  lines      BIGINT              NOT NULL COMMENT 'Lines in its files that are not blank, as far as the files can be read, count',
  accepted   BIGINT              NOT NULL COMMENT 'Rows accepted, count',
  duplicates BIGINT              NOT NULL COMMENT 'Valid rows dropped because their exposure_id was seen before, count',
  rejected   BIGINT              NOT NULL COMMENT 'Rows rejected, count',
  erased     BIGINT              NOT NULL COMMENT 'Rows of listeners who were erased, which are not taken in, count',
  late       BIGINT              NOT NULL COMMENT 'Accepted rows of earlier days, count',
  reasons    MAP<STRING, BIGINT> NOT NULL COMMENT 'Rows rejected by reason, count; reasons without rows are absent'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.nothing_lost" = "lines = accepted + duplicates + rejected + erased",
  "delta.constraints.state_known" = "state IN ('complete', 'unfinished', 'torn')",
  "delta.enableDeletionVectors" = "false"
)
