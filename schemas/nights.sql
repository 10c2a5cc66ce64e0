-- One row per night and what came of it: its manifest, whether its tables may be read, and what of it is served.
CREATE TABLE nights (
  run_date      DATE   NOT NULL COMMENT 'Night',
  state         STRING NOT NULL COMMENT 'published (every critical expectation held: its tables may be read), gate_closed, stale (an earlier night changed since), superseded (the night was run again and came out differently), or rolled_back (was served, and was withdrawn)',
  generation    STRING          COMMENT 'Generation of the serving cache that holds its lists, <run_date>-<first 8 of lists_digest>; null if the gate closed',
  reason        STRING          COMMENT 'Why the state is not published, or why the pointer did not move to it',
  listeners     BIGINT NOT NULL COMMENT 'Lists of the night, count',
  model_version STRING          COMMENT 'Model the lists depend on; null when there is none',
  lists_digest  STRING          COMMENT 'Hash over all lists of the night, whatever their order; that of ranked_lists in content',
  code_version  STRING NOT NULL COMMENT 'Release of the library, and a hash of its source files',
  settings_hash STRING NOT NULL COMMENT 'Hash of every setting that tables depend on: all but spark, cache and retention',
  content       MAP<STRING, STRING> NOT NULL COMMENT 'Hash over the rows that belong to the night, by table, whatever their order, without measured columns',
  expectations  ARRAY<STRUCT<table: STRING, expectation: STRING, observed: DOUBLE, limit: STRING, outcome: STRING>> NOT NULL COMMENT 'Result of every critical expectation',
  coverage      ARRAY<STRUCT<market: STRING, content_type: STRING, listeners: BIGINT, personal: BIGINT, full: BIGINT, slots: BIGINT, items: BIGINT>> NOT NULL COMMENT 'Counts by market and content type: listeners with such an item in their list, of these with a personal list, of these with a full list; such items listed, and different ones. Market is empty where there is none, and * over all; content_type is empty over all types, and unknown for items that are not in the catalogue',
  versions      MAP<STRING, BIGINT> NOT NULL COMMENT 'Delta version at which to read each input and output table of the night (measured)',
  files         MAP<STRING, STRING> NOT NULL COMMENT 'Hash of the names of the data files that belong to the night at that version, by table (measured)',
  erasures      ARRAY<STRUCT<erased_on: DATE, table: STRING, rows: BIGINT, changed: BIGINT, before: STRING, removed: STRING, added: STRING, after: STRING>> COMMENT 'What left the night since it was published, by table: on the night of the erasure, rows that went and rows of accounts that changed, counts; hash over the rows before, of those removed, of those in their place, and after: after = before - removed + added, modulo 2^64; empty if nothing did',
  costs         ARRAY<STRUCT<stage: STRING, seconds: DOUBLE, rows_read: BIGINT, rows_written: BIGINT, bytes_written: BIGINT>> NOT NULL COMMENT 'What every stage took, validation of its tables apart; not part of the hash (measured)',
  manifest      STRING NOT NULL COMMENT 'Hash over the row but for state, reason, costs and pointers: the seal of the manifest (measured)',
  pointers      MAP<STRING, STRING> NOT NULL COMMENT 'Pointer of each serving cache, by place, as it was last moved to this night; the one with the highest move is what the cache serves (measured)'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.state_known" = "state IN ('published', 'gate_closed', 'stale', 'superseded', 'rolled_back')",
  "delta.enableDeletionVectors" = "false"
)
