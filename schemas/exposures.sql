-- One row per accepted exposure, what a listener was shown at one moment, under the night that ingested it.
CREATE TABLE exposures (
  run_date        DATE      NOT NULL COMMENT 'Night that ingested the exposure',
  exposure_id     STRING    NOT NULL COMMENT 'Identity of the exposure, as landed; unique among recent nights. Of a plan that holds longer than its session the steer_id in steers',
  user_id         STRING    NOT NULL COMMENT 'Listener, as landed',
  shown_at        TIMESTAMP NOT NULL COMMENT 'When it was shown, UTC',
  surface         STRING    NOT NULL COMMENT 'Where: list, now_playing or steer, a list by a plan',
  generation      STRING    NOT NULL COMMENT 'Generation of the cache that it came from, as in nights',
  list_run_date   DATE      NOT NULL COMMENT 'Night of that generation: run_date of the list in ranked_lists',
  arm             STRING    NOT NULL COMMENT 'Experiment and arm, as in ranked_lists',
  source          STRING    NOT NULL COMMENT 'How it was made, as landed',
  model_version   STRING             COMMENT 'Model that it depends on, as in models; null if on none',
  playing_item_id STRING             COMMENT 'Item that was playing; null if none was',
  market          STRING             COMMENT 'Market whose rules were applied; null if none was known',
  items           ARRAY<STRUCT<item_id: STRING, propensity: DOUBLE>> NOT NULL COMMENT 'Items in the order shown; propensity is the probability of each given those above it, above 0 and at most 1',
  differences     MAP<STRING, INT>   COMMENT 'By treatment of the experiment on what comes next that the listener is in, the first place, from 1, at which its weights and those of control show another item, or give another reason, whichever was shown; null where they differ nowhere. Null for who is in no such experiment, and of a list by a plan',
  late            BOOLEAN   NOT NULL COMMENT 'True if it was shown on an earlier day than the night that ingested it'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.exposure_id_given" = "exposure_id <> ''",
  "delta.constraints.user_id_given" = "user_id <> ''",
  "delta.constraints.surface_known" = "surface IN ('list', 'now_playing', 'steer')",
  "delta.dataSkippingStatsColumns" = "shown_at",
  "delta.enableDeletionVectors" = "false"
)
