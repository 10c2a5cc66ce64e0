-- One row per listener and night who says that some listens are not their taste: their row of interactions as it would be with these.
CREATE TABLE set_aside (
  run_date        DATE          NOT NULL COMMENT 'Night: listens ingested up to and including it',
  user_id         STRING        NOT NULL COMMENT 'Listener, as in listens',
  not_taste       STRING        NOT NULL COMMENT 'The listens that are not their taste, as JSON: the member not_taste of their plan',
  asked_on        DATE          NOT NULL COMMENT 'Night that took this in',
  listens         BIGINT        NOT NULL COMMENT 'Listens kept out of their row of interactions since then, count',
  older           BOOLEAN       NOT NULL COMMENT 'True if the row has sums of listens that retention no longer held on that night: those stay in, whatever they were of',
  market          STRING                 COMMENT 'As in interactions',
  market_heard_at TIMESTAMP              COMMENT 'As in interactions, UTC',
  period          INT           NOT NULL COMMENT 'As in interactions, half-lives from 1970-01-01',
  item_indexes    ARRAY<INT>    NOT NULL COMMENT 'As in interactions',
  play_sums       ARRAY<BIGINT> NOT NULL COMMENT 'Decayed plays of all listens, in units of 2^-20 plays',
  second_sums     ARRAY<BIGINT> NOT NULL COMMENT 'Decayed listening time of all listens, in units of 2^-20 seconds',
  last_heard      ARRAY<DATE>   NOT NULL COMMENT 'As in interactions, UTC',
  recent_items    ARRAY<INT>    NOT NULL COMMENT 'Items of the last 64 of all listens, oldest first, as in item_index',
  recent_times    ARRAY<TIMESTAMP> NOT NULL COMMENT 'Times of these listens, UTC',
  changed_on      DATE          NOT NULL COMMENT 'As in interactions',
  digest          STRING        NOT NULL COMMENT 'Hash of the row as it would be in interactions'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.user_id_given" = "user_id <> ''",
  "delta.constraints.listens_counted" = "listens >= 0",
  "delta.enableDeletionVectors" = "false"
)
