-- The catalogue as it was on each night: one row per item and night.
CREATE TABLE items (
  run_date        DATE   NOT NULL COMMENT 'Night of the snapshot',
  item_id         STRING NOT NULL COMMENT 'Item, as landed',
  content_type    STRING NOT NULL COMMENT 'track, podcast_episode, audiobook or other',
  title           STRING          COMMENT 'Title for people',
  creator         STRING          COMMENT 'Artist, show or author',
  tags            ARRAY<STRING>   COMMENT 'Genres, moods and other labels',
  description     STRING          COMMENT 'Text about the item, for people',
  duration_ms     BIGINT          COMMENT 'Length, milliseconds',
  explicit        BOOLEAN         COMMENT 'True if the item is marked explicit',
  language        STRING          COMMENT 'Language that it is in, as the producer writes it',
  year            INT             COMMENT 'Year of release',
  energy          DOUBLE          COMMENT 'Energy, from 0, calm, to 1, energetic, unitless',
  markets         ARRAY<STRING>   COMMENT 'Markets it may be played in; null means everywhere',
  available_from  DATE            COMMENT 'First night it may be listed; null means always',
  available_until DATE            COMMENT 'Last night it may be listed; null means for good',
  absent          BOOLEAN NOT NULL COMMENT 'True if the landed catalogue no longer names the item: it is as it was last named, and may not be listed until it is named again'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.item_id_given" = "item_id <> ''",
  "delta.constraints.content_type_known" = "content_type IN ('track', 'podcast_episode', 'audiobook', 'other')",
  "delta.dataSkippingStatsColumns" = "item_id",
  "delta.enableDeletionVectors" = "false"
)
