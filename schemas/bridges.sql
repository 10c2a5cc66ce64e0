-- One row per model and content type: whether more than popularity can be said to listeners new to the type.
CREATE TABLE bridges (
  run_date         DATE    NOT NULL COMMENT 'Night that decided it: the first on which the model is live',
  model_version    STRING  NOT NULL COMMENT 'Model, as in models',
  content_type     STRING  NOT NULL COMMENT 'Content type that listeners are new to; one of ranking.shelf_types',
  listeners        INT     NOT NULL COMMENT 'Listeners of this type and of others who were held out; 0: too few for any proof; count',
  penalty          DOUBLE  NOT NULL COMMENT 'Penalty of the regression that held-out listeners prefer, unitless',
  ndcg             DOUBLE  NOT NULL COMMENT 'Mean NDCG@20 of their lists by the bridge, from what they heard of other types',
  popularity_ndcg  DOUBLE  NOT NULL COMMENT 'Mean NDCG@20 of the most popular items of the type',
  low              DOUBLE  NOT NULL COMMENT 'Lower end of the 95 % interval of the difference between the two, over listeners',
  high             DOUBLE  NOT NULL COMMENT 'Upper end of it',
  beats_popularity BOOLEAN NOT NULL COMMENT 'True if the lower end is above 0: lists of listeners new to the type are by the bridge; else the most popular of the type'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.content_type_known" = "content_type IN ('track', 'podcast_episode', 'audiobook', 'other')",
  "delta.constraints.listeners_counted" = "listeners >= 0",
  "delta.dataSkippingStatsColumns" = "content_type",
  "delta.enableDeletionVectors" = "false"
)
