-- One row per rejected exposure: the reason, and the line as it was landed.
CREATE TABLE exposure_rejects (
  run_date DATE   NOT NULL COMMENT 'Night that rejected the exposure',
  writer   STRING NOT NULL COMMENT 'Folder of its writer on the landing day',
  reason   STRING NOT NULL COMMENT 'The first check it failed, in the order of docs/landing.md',
  file     STRING NOT NULL COMMENT 'Landing file it came in, without folders',
  raw      STRING NOT NULL COMMENT 'The line as landed; of a line of over 1 MiB the first MiB'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "text of raw",
  "delta.dataSkippingStatsColumns" = "writer,reason",
  "delta.enableDeletionVectors" = "false"
)
