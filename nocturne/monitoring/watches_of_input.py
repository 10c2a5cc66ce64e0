"""Watches of what comes in: listens, their accounts, the catalogue, and the rows of listeners."""

from nocturne.monitoring.watch import QUANTILE, SHARE, Watch

_MARKETS = ("all", "market")
_PRODUCER = "Compare the landing day's files with yesterday's, by producer; land what is missing, run the night again."
_UNIT = "Ask the producer whether a field changed its unit or meaning; mend the landing day and run the night again."
_IDS = "Compare ids of the landing day with yesterday's (case, prefix, encoding); mend them and run the night again."
_CATALOGUE = "Compare the landed catalogue with last night's (`items`, both nights); ask who delivers it."
_MATRIX = "Look at `listens` of the night first; then join `interactions` of both nights by listener."

_SHARES = (
    ("markets", "market", "Listens come from other markets than usual: a market is missing, doubled or mixed up.", 0.5),
    ("content", "content_type", "Another mix of content types was heard: a feed is missing or doubled.", 0.5),
    ("hours", "hour", "Listens begin at other hours: a clock or a time zone moved.", 0.5),
    ("contexts", "context", "Listens come from other contexts: a client's field changed.", None),
    ("devices", "device", "Listens come from other devices: an app's feed is missing or doubled.", None),
    ("delays", "days_late", "Listens arrive with another delay.", None),
)

LISTENS = (
    Watch("listens.volume", "listens", ("all", "market", "content_type"), "ratio", 1.35, 1.7,
          "Listens are missing or doubled: rows of listeners, and what is popular, are learned from the wrong day.",
          _PRODUCER, noise="count"),
    Watch("listens.listeners", "listeners", ("all",), "ratio", 1.35, 1.7,
          "Listeners are missing, or there are many more: their lists rest on half a day.", _PRODUCER, noise="count"),
    *(Watch(f"listens.{name}", SHARE, (kind,), "psi", 0.1, block, meaning, _PRODUCER)
      for name, kind, meaning, block in _SHARES),
    Watch("listens.late", "share_late", ("all",), "difference", 0.05, None,
          "More listens are late: tonight's lists lack them.", _PRODUCER, direction="rise"),
    Watch("listens.length", "ms_played", (QUANTILE,), "wasserstein", 0.4, 0.6,
          "Plays are much longer or shorter: seconds for milliseconds, or another meaning of the field.", _UNIT),
    Watch("listens.lengths", "median_ms_played", ("content_type",), "ratio", 1.5, 2.5,
          "Plays of this content type are much longer or shorter: its producer counts otherwise.", _UNIT),
    Watch("listens.lengths_by_market", "median_ms_played", ("market",), "ratio", 1.5, None,
          "Plays of this market are much longer or shorter: other types are played, or its producer counts otherwise.",
          _UNIT),
    Watch("listens.part_played", "share_of_length", (QUANTILE,), "wasserstein", 0.3, 0.6,
          "Another part of items is played: lengths of plays or of items are in another unit.", _UNIT),
    Watch("listens.timed", "share_timed", ("all", "market"), "difference", 0.1, None,
          "Another share of listens says how long it was.", _UNIT, noise="share"),
    Watch("listens.weights", "plays_per_listen", _MARKETS, "ratio", 1.3, 1.8,
          "A listen stands for more or fewer plays: events are summed up otherwise, or sent twice.", _UNIT),
    Watch("listens.activity", "plays_per_listener", (QUANTILE,), "wasserstein", 0.3, 0.6,
          "Listeners play more or less than they do: events are lost, doubled, or given to others.", _PRODUCER),
    Watch("listens.unknown", "share_unknown", _MARKETS, "difference", 0.02, 0.05,
          "Listens are of items that the catalogue does not have: they teach nothing, and ids may have changed.",
          _IDS, direction="rise", noise="share"),
    Watch("listens.explicit", "share_explicit", _MARKETS, "difference", 0.05, 0.15,
          "Another share of listens is of explicit items: marks of the catalogue changed.", _CATALOGUE, noise="share"),
    Watch("listens.items", "items_heard", ("all",), "ratio", 1.35, 1.8,
          "Another number of items was heard: ids changed, or a part of listens is gone.", _IDS, noise="count"),
    Watch("listens.concentration", "gini_of_items", ("all",), "difference", 0.04, 0.1,
          "Plays gather on fewer items, or spread over more.", _PRODUCER),
    Watch("listens.creators", "gini_of_creators", ("all",), "difference", 0.04, 0.1,
          "Plays gather on fewer creators, or spread over more.", _PRODUCER),
    Watch("listens.burst", "share_of_top_listeners", ("all",), "difference", 0.04, 0.12,
          "Few listeners make far more of the plays: bots below the limit.",
          "List the night's listeners by plays; lower `listens.bot_rows` or have them rejected.", direction="rise"),
    Watch("listens.runaway_item", "share_of_top_item", ("all",), "difference", 0.02, 0.06,
          "One item has far more of the plays: a burst of bots, a loop of a player, or a hit.",
          "Look who plays it: many listeners once are a hit, few ones often are not.", direction="rise"),
    Watch("listens.runaway_creator", "share_of_plays", ("creator_rank",), "difference", 0.03, 0.1,
          "One creator has far more of the plays: bots, or a release.",
          "Look who plays the creator: many listeners are a release, few ones are not.", direction="rise"),
)  # fmt: skip

ACCOUNTS = (
    Watch("ingests.rejects", "share_rejected", ("reason",), "difference", 0.03, None,
          "More events are rejected for this reason.",
          "Read the rejected lines: `SELECT raw FROM quarantine`; ask their producer.",
          direction="rise", noise="share"),
    Watch("ingests.bots", "share_bots", ("all",), "difference", 0.03, None, "More events are of bots.",
          "Read the rejected lines: `SELECT raw FROM quarantine`.", direction="rise"),
    Watch("ingests.duplicates", "share_duplicates", ("all",), "difference", 0.03, None,
          "More events landed twice: a producer repeats itself.", _PRODUCER, direction="rise"),
    Watch("quarantine.volume", "rejected", ("all",), "ratio", 2.0, None, "Far more events were rejected.",
          "Read them: `SELECT reason, file, raw FROM quarantine`.", direction="rise", noise="count"),
    Watch("quarantine.reasons", SHARE, ("reason",), "jensen_shannon", 0.15, None,
          "Events are rejected for other reasons.",
          "Read them: `SELECT reason, file, raw FROM quarantine`."),
    Watch("quarantine.producers", SHARE, ("producer",), "jensen_shannon", 0.15, None, "Rejected events are of others.",
          "Read them: `SELECT reason, file, raw FROM quarantine`."),
)  # fmt: skip

_CHANGED = (
    ("title", 0.05, 0.3), ("creator", 0.03, 0.15), ("content_type", 0.01, 0.05), ("explicit", 0.005, 0.02),
    ("markets", 0.01, 0.04), ("available_from", 0.003, 0.01), ("available_until", 0.003, 0.01),
    ("duration_ms", 0.05, 0.3),
)  # fmt: skip
ITEMS = (
    Watch("items.volume", "items", ("all", "content_type"), "ratio", 1.1, 1.3,
          "Items are missing from the catalogue, or there are many more.", _CATALOGUE, noise="count"),
    Watch("items.content", SHARE, ("content_type",), "jensen_shannon", 0.01, 0.05,
          "The catalogue is of other content types.", _CATALOGUE),
    Watch("items.gone", "share_gone", ("all",), "difference", 0.03, 0.15, "Items of last night are gone.",
          _CATALOGUE, direction="rise", noise="share"),
    Watch("items.new", "share_new", ("all",), "difference", 0.05, 0.25,
          "Many items are new: the old ones may have been named anew.", _IDS, direction="rise", noise="share"),
    *(Watch(f"items.changed_{name}", f"share_changed_{name}", ("all",), "difference", warn, block,
            f"Items say another {name} than last night.", _CATALOGUE, direction="rise", noise="share")
      for name, warn, block in _CHANGED),
    Watch("items.explicit", "share_explicit", ("all", "content_type"), "difference", 0.03, 0.1,
          "Another share of the catalogue is explicit: marks may be flipped.", _CATALOGUE, noise="share"),
    Watch("items.barred", "share_barred", ("all", "content_type"), "difference", 0.05, 0.2,
          "More items may not be played anywhere: lists lose them.", _CATALOGUE, direction="rise", noise="share"),
    Watch("items.restricted", "share_restricted", ("all", "content_type"), "difference", 0.05, 0.2,
          "Another share of items is bound to markets.", _CATALOGUE, noise="share"),
    Watch("items.licensed", "share_licensed", ("market",), "difference", 0.1, 0.3,
          "Another share of the restricted items may be played in this market.", _CATALOGUE, noise="share"),
    Watch("items.licences_lifted", "share_licences_lifted", ("all",), "difference", 0.01, 0.03,
          "Items bound to other markets last night may be played here tonight: licences may be missing.",
          _CATALOGUE, direction="rise"),
    Watch("items.marks_lifted", "share_explicit_lifted", ("all",), "difference", 0.01, 0.03,
          "Items marked explicit last night are not so tonight: marks may be missing.", _CATALOGUE, direction="rise"),
    Watch("items.listable", "least_listable_vs_last_night", ("all",), "ratio", 1.01, 1.03,
          "Fewer items than last night may be listed in a market: dates or licences changed at once.",
          _CATALOGUE, direction="fall"),
    Watch("items.without_creator", "share_without_creator", ("all",), "difference", 0.05, None,
          "Items lost their creator, by which lists are kept varied.", _CATALOGUE, direction="rise", noise="share"),
    Watch("items.untitled", "share_untitled", ("all",), "difference", 0.05, None,
          "Items lost their title, by which new ones are ranked.", _CATALOGUE, direction="rise"),
    Watch("items.length", "duration_ms", (QUANTILE,), "wasserstein", 0.2, 0.6,
          "Items are much longer or shorter: another unit.", _UNIT),
)  # fmt: skip

ROWS = (
    Watch("interactions.listeners", "listeners", _MARKETS, "ratio", 1.1, 1.3,
          "Rows of listeners are missing, or there are many more.", _MATRIX, noise="count"),
    Watch("interactions.markets", SHARE, ("market",), "psi", 0.05, 0.25, "Listeners are in other markets.", _MATRIX),
    Watch("interactions.changed", "share_changed", _MARKETS, "difference", 0.1, 0.3,
          "Tonight's listens changed far more or fewer rows: a part of the listeners is frozen, or not themselves.",
          _MATRIX, noise="share"),
    Watch("interactions.new", "share_new", _MARKETS, "difference", 0.05, 0.2,
          "Many listeners are new: old ones may come under another id.", _IDS, direction="rise", noise="share"),
    Watch("interactions.size", "items_per_row", _MARKETS, "ratio", 1.15, 1.5,
          "Rows have far more or fewer items than they had.", _MATRIX),
    Watch("interactions.familiar", "share_familiar", _MARKETS, "difference", 0.08, 0.2,
          "Listeners play less of what they had played before: events may be given to other listeners or items.",
          _IDS, direction="fall"),
    Watch("interactions.moved", "share_moved", _MARKETS, "difference", 0.02, 0.1,
          "Listeners moved to another market: markets may be mixed up.",
          "Compare `market` of listeners in `interactions` of both nights; ask the producer.",
          direction="rise", noise="share"),
    Watch("interactions.plays", "plays_per_listener", (QUANTILE,), "wasserstein", 0.15, 0.6,
          "Rows weigh more or less than they did.", _MATRIX),
)  # fmt: skip
