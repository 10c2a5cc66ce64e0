-- One row per rejected event: the reason, and the event as it was landed.
CREATE TABLE quarantine (
  run_date DATE   NOT NULL COMMENT 'Night that rejected the event',
  reason   STRING NOT NULL COMMENT 'The first check it failed, in the order of docs/landing.md',
  file     STRING NOT NULL COMMENT 'Landing file it came in, without folders',
  raw      STRING NOT NULL COMMENT 'The line as landed; for Parquet the row as JSON'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "text of raw",
  "delta.dataSkippingStatsColumns" = "reason",
  "delta.enableDeletionVectors" = "false"
)
