-- One row per accepted listening event, under the night that ingested it.
CREATE TABLE listens (
  run_date    DATE      NOT NULL COMMENT 'Night that ingested the event',
  bucket      INT       NOT NULL COMMENT 'Hash of user_id modulo the number of buckets; the same in every table keyed by user',
  event_id    STRING    NOT NULL COMMENT 'Identity of the event, as landed; unique among recent nights',
  user_id     STRING    NOT NULL COMMENT 'Listener, as landed',
  item_id     STRING    NOT NULL COMMENT 'Track, episode, book or other item, as landed',
  listened_at TIMESTAMP NOT NULL COMMENT 'When the listening began, UTC',
  ms_played   BIGINT             COMMENT 'Time listened, milliseconds; null where the source does not say',
  plays       BIGINT    NOT NULL COMMENT 'Plays that the event stands for, count',
  context     STRING             COMMENT 'Where in the app the listening happened, as landed',
  device      STRING             COMMENT 'Kind of device, as landed',
  market      STRING             COMMENT 'Market of the listener at the time, as landed',
  late        BOOLEAN   NOT NULL COMMENT 'True if the event is of an earlier day than the night that ingested it'
)
USING DELTA
PARTITIONED BY (run_date, bucket)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.event_id_given" = "event_id <> ''",
  "delta.constraints.user_id_given" = "user_id <> ''",
  "delta.constraints.item_id_given" = "item_id <> ''",
  "delta.constraints.ms_played_positive" = "ms_played IS NULL OR ms_played >= 0",
  "delta.constraints.plays_counted" = "plays >= 1",
  "delta.dataSkippingStatsColumns" = "listened_at",
  "delta.enableDeletionVectors" = "false"
)
