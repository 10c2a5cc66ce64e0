-- One row per erasure that was asked for: the listener by a keyed hash, and since when. Nothing of before is taken in again.
CREATE TABLE tombstones (
  run_date DATE      NOT NULL COMMENT 'Day on which it was asked for, UTC',
  listener STRING    NOT NULL COMMENT 'HMAC-SHA256 of the user_id under the key of erasures, in hexadecimal',
  key_id   STRING    NOT NULL COMMENT 'Eight digits that tell the key from another one',
  asked_at TIMESTAMP NOT NULL COMMENT 'When it was asked for, UTC: what is of before is not taken in, who comes back later starts empty',
  why      STRING    NOT NULL COMMENT 'Why, for people; it names no listener'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "none",
  "delta.constraints.listener_hashed" = "listener <> ''",
  "delta.enableDeletionVectors" = "false"
)
