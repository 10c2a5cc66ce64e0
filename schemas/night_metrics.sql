-- One row per night, table, metric and segment: what the passes that validate a table measured of it.
CREATE TABLE night_metrics (
  run_date     DATE   NOT NULL COMMENT 'Night that was measured',
  `table`      STRING NOT NULL COMMENT 'Table that the metric is of',
  metric       STRING NOT NULL COMMENT 'Name of the metric; docs/monitoring-metrics.md says the unit of each',
  segment_kind STRING NOT NULL COMMENT 'Kind of segment, such as market, content_type or quantile; all for the whole table',
  segment      STRING NOT NULL COMMENT 'Segment of that kind; empty for the whole table',
  value        DOUBLE NOT NULL COMMENT 'Value of the metric, in its own unit',
  count        DOUBLE          COMMENT 'Rows, listeners or events that the value rests on; null where that is not counted'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.enableDeletionVectors" = "false"
)
