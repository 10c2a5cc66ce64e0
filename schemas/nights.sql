-- One row per night: whether its tables may be read, and what of it is served.
CREATE TABLE nights (
  run_date      DATE   NOT NULL COMMENT 'Night',
  state         STRING NOT NULL COMMENT 'published (every critical expectation held), gate_closed, or stale (an earlier night changed since)',
  generation    STRING          COMMENT 'Generation of the serving cache that was loaded from it; null if none was',
  reason        STRING          COMMENT 'Why the gate is closed, the night is stale, or the pointer was not moved',
  listeners     BIGINT NOT NULL COMMENT 'Lists of the night, count',
  model_version STRING          COMMENT 'Model the lists depend on; null when there is none',
  lists_digest  STRING          COMMENT 'Hash over all lists of the night, whatever their order'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "delta.constraints.state_known" = "state IN ('published', 'gate_closed', 'stale')",
  "delta.enableDeletionVectors" = "false"
)
