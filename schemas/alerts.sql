-- One row per night and alert: a metric that is not what earlier nights let one expect, its likely cause and what to do.
CREATE TABLE alerts (
  run_date     DATE    NOT NULL COMMENT 'Night that was watched',
  alert        STRING  NOT NULL COMMENT 'Name of the alert: 8 hex digits, the same on every night that it stands',
  cause        STRING  NOT NULL COMMENT 'Watch that raised it, such as listens.volume',
  severity     STRING  NOT NULL COMMENT 'critical closes the gate, warning is reported',
  `group`      STRING  NOT NULL COMMENT 'Alert that is likely its root, furthest up the flow; its own name if it is one',
  since        DATE    NOT NULL COMMENT 'First night in a row on which it stands',
  silenced     BOOLEAN NOT NULL COMMENT 'True if it was told the night before, or with its root',
  accepted     BOOLEAN NOT NULL COMMENT 'True if settings say that people looked at it and accept it: it closes no gate',
  `table`      STRING  NOT NULL COMMENT 'Table that the metric is of',
  metric       STRING  NOT NULL COMMENT 'Metric, as in night_metrics',
  segment_kind STRING  NOT NULL COMMENT 'Kind of segment, as in night_metrics',
  segment      STRING  NOT NULL COMMENT 'Segment; empty for the whole table',
  observed     DOUBLE  NOT NULL COMMENT 'Value on the night, in the unit of the metric',
  expected     DOUBLE  NOT NULL COMMENT 'Value that earlier nights let one expect, in the same unit',
  effect       DOUBLE  NOT NULL COMMENT 'Distance of the two, by effect_size',
  effect_size  STRING  NOT NULL COMMENT 'ratio, difference, psi, jensen_shannon or wasserstein',
  threshold    DOUBLE  NOT NULL COMMENT 'Effect from which on the alert is raised',
  evidence     STRING  NOT NULL COMMENT 'Counts behind it, and where the rows are',
  meaning      STRING  NOT NULL COMMENT 'What it means for listeners',
  next_step    STRING  NOT NULL COMMENT 'What to look at or do next'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "delta.constraints.severity_known" = "severity IN ('critical', 'warning')",
  "delta.constraints.effect_size_known" = "effect_size IN ('ratio', 'difference', 'psi', 'jensen_shannon', 'wasserstein')",
  "nocturne.listeners" = "none",
  "delta.enableDeletionVectors" = "false"
)
