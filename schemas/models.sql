-- One row per trained model, with everything global that a list depends on.
CREATE TABLE models (
  run_date       DATE          NOT NULL COMMENT 'Night it was trained on; live from then on',
  model_version  STRING        NOT NULL COMMENT 'als-<run_date>-<hash of factors and settings>',
  state          STRING        NOT NULL COMMENT 'live (later: candidate, retired, rejected)',
  parent         STRING                 COMMENT 'Model whose factors it started from; null when from scratch',
  settings       STRING        NOT NULL COMMENT 'Training settings, JSON',
  anchor_date    DATE          NOT NULL COMMENT 'Day to which confidences are decayed, whatever the night',
  regularization DOUBLE        NOT NULL COMMENT 'Ridge term of every solve, unitless',
  listeners      BIGINT        NOT NULL COMMENT 'Rows of the training matrix, count',
  items          BIGINT        NOT NULL COMMENT 'Columns of the training matrix, count',
  entries        BIGINT        NOT NULL COMMENT 'Non-zeros of the training matrix, count',
  spectrum       ARRAY<DOUBLE> NOT NULL COMMENT 'Gram matrix of the item factors, which is diagonal on their principal axes; largest first',
  losses         ARRAY<DOUBLE> NOT NULL COMMENT 'Training loss after each iteration, 5 significant digits',
  seconds        DOUBLE        NOT NULL COMMENT 'Time the training took, seconds (measured)'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "delta.constraints.state_known" = "state IN ('candidate', 'live', 'retired', 'rejected')",
  "delta.constraints.regularization_positive" = "regularization > 0",
  "delta.enableDeletionVectors" = "false"
)
