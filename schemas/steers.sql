-- One row per listener and night: the plan that holds for their lists from that night on, or its end.
CREATE TABLE steers (
  run_date    DATE      NOT NULL COMMENT 'Night that the plan holds on',
  user_id     STRING    NOT NULL COMMENT 'Listener, as in listens',
  steer_id    STRING    NOT NULL COMMENT 'The request that asked for it',
  asked_at    TIMESTAMP NOT NULL COMMENT 'When it was asked for, UTC',
  plan        STRING    NOT NULL COMMENT 'The plan as JSON, by docs/plan.schema.json; one that asks nothing ends what was asked before, and is kept for one night',
  digest      STRING    NOT NULL COMMENT 'SHA-256 of the plan, in hexadecimal',
  holds_until DATE               COMMENT 'Last night that it holds on; null means until the listener ends it'
)
USING DELTA
PARTITIONED BY (run_date)
TBLPROPERTIES (
  "nocturne.listeners" = "user_id",
  "delta.constraints.listener_given" = "user_id <> ''",
  "delta.constraints.still_holds" = "holds_until IS NULL OR holds_until >= run_date",
  "delta.enableDeletionVectors" = "false"
)
