-- One row per look at an experiment, arm and group of its listeners: counts, means, variances and covariances.
CREATE TABLE experiment_looks (
  run_date    DATE   NOT NULL COMMENT 'Night of the look: what listeners did up to and including this day',
  experiment  STRING NOT NULL COMMENT 'Experiment, by the name of its file',
  day         INT    NOT NULL COMMENT 'Days of the experiment so far: its lists of the night run_date - day were the first',
  arm         STRING NOT NULL COMMENT 'Arm; interleaved for listeners of drafted lists',
  population  STRING NOT NULL COMMENT 'everyone; triggered:<arm>: those whose lists that arm made different so far; or a segment, such as market:SE',
  listeners   BIGINT NOT NULL COMMENT 'Listeners of the group, count',
  listed      BIGINT          COMMENT 'Of everyone: with the list of their arm on the night before; null in other groups',
  exposed     BIGINT          COMMENT 'Of those listed, to whom anything was shown since the start; null in other groups',
  means       MAP<STRING, DOUBLE> NOT NULL COMMENT 'Mean of each column over the listeners, in its unit: measures since the start, under before: those of four weeks before it, and under last: those up to the look before',
  variances   MAP<STRING, DOUBLE> NOT NULL COMMENT 'Sample variance of each column, in its unit squared',
  covariances MAP<STRING, DOUBLE> NOT NULL COMMENT 'Sample covariance of pairs of columns, by both names with | between them, the smaller one first'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.day_counts_from_one" = "day >= 1",
  "delta.constraints.listeners_counted" = "listeners >= 0",
  "delta.enableDeletionVectors" = "false"
)
