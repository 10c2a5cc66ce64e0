-- One row per item, market and night: the last word on whether the item may be listed there, as far as anyone ever said.
CREATE TABLE takedowns (
  run_date    DATE      NOT NULL COMMENT 'Night that obeys it',
  item_id     STRING    NOT NULL COMMENT 'Item, as in items; the catalogue need not know it',
  market      STRING             COMMENT 'Market in which it may not be listed; null means everywhere',
  takedown_id STRING    NOT NULL COMMENT 'The request that said so',
  asked_at    TIMESTAMP NOT NULL COMMENT 'When it was said, UTC: of two words on an item and market the later one holds',
  from_night  DATE      NOT NULL COMMENT 'First night that obeys it',
  lifts       BOOLEAN   NOT NULL COMMENT 'True if the item may be listed again; with market null that ends all that was said before, of every market',
  why         STRING    NOT NULL COMMENT 'The reason, for people'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "delta.constraints.item_given" = "item_id <> ''",
  "delta.constraints.obeyed_already" = "from_night <= run_date",
  "nocturne.listeners" = "none",
  "delta.enableDeletionVectors" = "false"
)
