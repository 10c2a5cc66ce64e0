-- One row per item that was ever heard, or that a catalogue named: its column in the interaction matrix. Append-only, the same on every later night.
CREATE TABLE item_index (
  first_night DATE   NOT NULL COMMENT 'Night that gave the item its index',
  item_index  INT    NOT NULL COMMENT 'Column in the interaction matrix, from 0, ordered by (first_night, item_id)',
  item_id     STRING NOT NULL COMMENT 'Item, as in listens'
)
USING DELTA
PARTITIONED BY (first_night)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.item_index_from_0" = "item_index >= 0",
  "delta.dataSkippingStatsColumns" = "item_index,item_id",
  "delta.enableDeletionVectors" = "false"
)
