-- One row per model ever trained: what it was learned from, how it did, and who made it live and why.
CREATE TABLE models (
  run_date       DATE          NOT NULL COMMENT 'Night it was trained on',
  model_version  STRING        NOT NULL COMMENT '<family>-<run_date>-<hash of factors and settings>',
  state          STRING        NOT NULL COMMENT 'candidate, live, retired or rejected: what all moves come to. Which model was live on a night follows from the moves',
  moves          ARRAY<STRUCT<number: INT, state: STRING, since: DATE, by: STRING, why: STRING>> NOT NULL COMMENT 'What was decided on it: number counts the moves of all models; state is candidate when it was trained, live, rejected, or what the gate said: refused as worse, or undecided as not shown to be no worse, which change nothing; since is the first night the move holds for; by and why are for people',
  origin         STRING        NOT NULL COMMENT 'train_als (by the night), train_sequence (by the night, a candidate), retrain (nocturne models train), tune, or experiment (by the night, for an arm)',
  parent         STRING                 COMMENT 'Model whose factors it started from; null when from scratch',
  settings       STRING        NOT NULL COMMENT 'Training settings, JSON',
  anchor_date    DATE          NOT NULL COMMENT 'Day to which confidences are decayed, whatever the night',
  regularization DOUBLE        NOT NULL COMMENT 'Ridge term of every solve, unitless; of a sequence model of no meaning',
  listeners      BIGINT        NOT NULL COMMENT 'Rows of the training matrix, count',
  items          BIGINT        NOT NULL COMMENT 'Columns of the training matrix, count',
  entries        BIGINT        NOT NULL COMMENT 'Non-zeros of the training matrix, count',
  spectrum       ARRAY<DOUBLE> NOT NULL COMMENT 'Gram matrix of the item factors, which is diagonal on their principal axes; largest first',
  losses         ARRAY<DOUBLE> NOT NULL COMMENT 'Training loss after each iteration or epoch, 5 significant digits',
  race           ARRAY<STRUCT<round: STRING, changes: STRING, listeners: BIGINT, ndcg: DOUBLE, difference: DOUBLE, low: DOUBLE, high: DOUBLE, chosen: BOOLEAN>> NOT NULL COMMENT 'Recipes that were tried before it was trained, by round: changes to the one that the round began with, JSON, none for that one itself; mean NDCG@20 of listeners from whom something was withheld, its difference to that one with the 95 % interval, and whether it was chosen. Empty if its recipe was given',
  race_share     DOUBLE        NOT NULL COMMENT 'Share of listeners, by hash, among whom are all who were asked in the race',
  metrics        ARRAY<STRUCT<metric: STRING, segment: STRING, against: STRING, nights: STRING, listeners: BIGINT, value: DOUBLE, difference: DOUBLE, low: DOUBLE, high: DOUBLE, sampled: BIGINT, sampled_of: BIGINT>> NOT NULL COMMENT 'Comparisons with other models: the mean over listeners, its difference to the other model, and the 95 % interval of that; nights are those the lists were made for. On the one with most listeners so many were in the sample, of so many',
  code_version   STRING        NOT NULL COMMENT 'Release of the library, and a hash of its source files',
  inputs         ARRAY<STRUCT<table: STRING, version: BIGINT>> NOT NULL COMMENT 'Delta versions of the tables it was trained on (measured)',
  seconds        DOUBLE        NOT NULL COMMENT 'Time the training took, seconds (measured)'
)
USING DELTA
PARTITIONED BY (run_date, model_version)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.state_known" = "state IN ('candidate', 'live', 'retired', 'rejected')",
  "delta.constraints.origin_known" = "origin IN ('train_als', 'train_sequence', 'retrain', 'tune', 'experiment')",
  "delta.constraints.regularization_positive" = "regularization > 0",
  "delta.enableDeletionVectors" = "false"
)
