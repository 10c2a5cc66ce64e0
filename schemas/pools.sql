-- One row per listener with a personal list and night: the exact top of what they may get, deeper than the list.
CREATE TABLE pools (
  run_date      DATE          NOT NULL COMMENT 'Night the pool stands for',
  bucket        INT           NOT NULL COMMENT 'Hash of user_id modulo the number of buckets; the same in every table keyed by user',
  user_id       STRING        NOT NULL COMMENT 'Listener, as in listens',
  source        STRING        NOT NULL COMMENT 'als, or previous for a list that was carried on without factors',
  items         ARRAY<INT>    NOT NULL COMMENT 'Items, best first, as in item_index; the list is chosen from the first of them',
  scores        ARRAY<DOUBLE> NOT NULL COMMENT 'Inner product of the factors times the multiplier of the item; in carried on lists as in ranked_lists',
  listed        ARRAY<INT>    NOT NULL COMMENT 'Places in items, from 0, of what is in the list, in its order',
  shelf_items   ARRAY<INT>    NOT NULL COMMENT 'Items beyond the pool, a content type after the other in the order of the alphabet, best first: those of a type in items and these are the exact top of the type',
  shelf_scores  ARRAY<FLOAT>  NOT NULL COMMENT 'As scores, of shelf_items, rounded to single precision',
  row_digest    STRING        NOT NULL COMMENT 'Digest of the row of interactions that it was computed from',
  model_version STRING        NOT NULL COMMENT 'Model that it was computed with, as in models',
  build         STRING        NOT NULL COMMENT 'Hash of libraries and processor, and the settings, that it was computed under',
  rankable      STRING        NOT NULL COMMENT 'Hash of what might be listed in the market of the listener on the night',
  valid_until   DATE                   COMMENT 'Night on which a heard item may be listed again; null if none ever is',
  factors       ARRAY<FLOAT>           COMMENT 'Factors of the listener, rounded to single precision, unitless; null without factors',
  norm          DOUBLE                 COMMENT 'Norm of the factors of the listener; null without factors',
  bound         DOUBLE                 COMMENT 'Upper bound of the score of every item that is not in the pool; null if there is none (measured)',
  computed_on   DATE          NOT NULL COMMENT 'Night on which it was computed; since then it has been carried over, with what was added merged into it (measured)'
)
USING DELTA
PARTITIONED BY (run_date, bucket)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.source_known" = "source IN ('als', 'previous')",
  "delta.dataSkippingStatsColumns" = "source",
  "delta.enableDeletionVectors" = "false"
)
