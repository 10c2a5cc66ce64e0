-- One row per night, table and expectation: what was expected, what was found.
CREATE TABLE validations (
  run_date    DATE   NOT NULL COMMENT 'Night that was validated',
  `table`     STRING NOT NULL COMMENT 'Table that was validated',
  expectation STRING NOT NULL COMMENT 'Metric of the table that was held against its limits, as in expectations/<table>.json',
  severity    STRING NOT NULL COMMENT 'critical closes the gate, warning is reported',
  observed    DOUBLE          COMMENT 'Value of the metric, in its own unit; null when skipped',
  `limit`     STRING NOT NULL COMMENT 'Limits it was held against, such as >= 0.2',
  outcome     STRING NOT NULL COMMENT 'success, failed, or skipped for want of past nights',
  seconds     DOUBLE NOT NULL COMMENT 'Share of the time that validating the table took, seconds (measured)',
  content     STRING NOT NULL COMMENT 'Hash over the rows that were validated, whatever their order, without measured columns',
  files       STRING NOT NULL COMMENT 'Hash of the names and bytes of the data files that were validated (measured)'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.severity_known" = "severity IN ('critical', 'warning')",
  "delta.constraints.outcome_known" = "outcome IN ('success', 'failed', 'skipped')",
  "delta.enableDeletionVectors" = "false"
)
