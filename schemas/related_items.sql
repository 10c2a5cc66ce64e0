-- One row per item, content type and night: the items of that type that go best with the item, best first.
CREATE TABLE related_items (
  run_date      DATE   NOT NULL COMMENT 'Night the row stands for',
  item_id       STRING NOT NULL COMMENT 'Item, as in item_index or in the catalogue',
  content_type  STRING NOT NULL COMMENT 'Content type of the related items; items that the catalogue never named count as other',
  items         ARRAY<STRUCT<item_id: STRING, score: FLOAT, source: STRING>> NOT NULL COMMENT 'Items that may be listed in some market, best first; score is the cosine of the factors, from -1 to 1, plus related.neighbour_weight for what is heard after the item most, and less for what is so less often, or by creator listeners as a share of those of the item most heard; source is factors, neighbours (heard after it, and the cosine is not above 0), both, or creator',
  source        STRING NOT NULL COMMENT 'model; text for an item that the model knows by its text alone; creator for an item without factors: what else its creator has, most heard first; none: there is nothing',
  model_version STRING          COMMENT 'Model that it depends on, as in models; null before there is one',
  build         STRING NOT NULL COMMENT 'Hash of libraries and processor, and the settings, that it was computed under',
  rankable      STRING NOT NULL COMMENT 'Hash of the items of the model and of the content type that might be listed on the night',
  reserve       ARRAY<STRUCT<item_id: STRING, score: FLOAT, source: STRING>> NOT NULL COMMENT 'Items behind them, which take the place of what may no longer be listed (measured)',
  computed_on   DATE   NOT NULL COMMENT 'Night on which it was computed; since then it has been carried over (measured)'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.content_type_known" = "content_type IN ('track', 'podcast_episode', 'audiobook', 'other')",
  "delta.constraints.source_known" = "source IN ('model', 'text', 'creator', 'none')",
  "delta.dataSkippingStatsColumns" = "item_id,content_type",
  "delta.enableDeletionVectors" = "false"
)
