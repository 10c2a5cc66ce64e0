-- One row per item that has a text: append-only. The text counts as it was when the item was first embedded.
CREATE TABLE item_texts (
  run_date    DATE         NOT NULL COMMENT 'Night that embedded it',
  item_index  INT          NOT NULL COMMENT 'Item, as in item_index',
  item_id     STRING       NOT NULL COMMENT 'Item, as in the catalogue',
  encoder     STRING       NOT NULL COMMENT 'Encoder and its version; embeddings of two encoders have nothing in common',
  text_digest STRING       NOT NULL COMMENT 'Hash of title, creator, tags, description and content type as they were that night',
  embedding   ARRAY<FLOAT> NOT NULL COMMENT 'Embedding of the text, of length 1, unitless'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.dataSkippingStatsColumns" = "item_index",
  "delta.enableDeletionVectors" = "false"
)
