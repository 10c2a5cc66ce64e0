-- One row per listener and night: their whole decayed history, as the matrix needs it.
CREATE TABLE interactions (
  run_date        DATE          NOT NULL COMMENT 'Night: listens ingested up to and including it',
  bucket          INT           NOT NULL COMMENT 'Hash of user_id modulo the number of buckets; the same in every table keyed by user',
  user_id         STRING        NOT NULL COMMENT 'Listener, as in listens',
  market          STRING                 COMMENT 'Market of the latest listen that names one',
  market_heard_at TIMESTAMP              COMMENT 'Time of that listen, UTC',
  period          INT           NOT NULL COMMENT 'Half-life in which the row last changed, counted from 1970-01-01; sums are decayed to its first day',
  item_indexes    ARRAY<INT>    NOT NULL COMMENT 'Items heard, ascending, as in item_index',
  play_sums       ARRAY<BIGINT> NOT NULL COMMENT 'Decayed plays of each item, in units of 2^-20 plays; 0 where nothing of it is kept to learn from',
  second_sums     ARRAY<BIGINT> NOT NULL COMMENT 'Decayed listening time of each item, in units of 2^-20 seconds',
  last_heard      ARRAY<DATE>   NOT NULL COMMENT 'Day each item was last heard, UTC',
  recent_items    ARRAY<INT>    NOT NULL COMMENT 'Items of the last 64 listens, oldest first, as in item_index; of listens at one time, by index',
  recent_times    ARRAY<TIMESTAMP> NOT NULL COMMENT 'Times of these listens, UTC',
  changed_on      DATE          NOT NULL COMMENT 'Last night that brought listens of this listener',
  digest          STRING        NOT NULL COMMENT 'Hash of everything in the row but run_date and bucket'
)
USING DELTA
PARTITIONED BY (run_date, bucket)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.user_id_given" = "user_id <> ''",
  "delta.dataSkippingStatsColumns" = "changed_on",
  "delta.enableDeletionVectors" = "false"
)
