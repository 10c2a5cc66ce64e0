"""Watches of what is served: lists, arms, what is related, and, the night after, what was shown and what it cost."""

from nocturne.monitoring.watch import QUANTILE, SHARE, Direction, Watch

_MARKETS = ("all", "market")
_EVERY = (*_MARKETS, "arm")
_COMPARE = (
    "`nocturne report --compare` of both nights shows whose lists changed; look at the first alert of the flow first."
)
_RULES = "Compare the landed catalogue with last night's (`items`, both nights): marks, markets, dates."
_RANKING = "See settings of [ranking] and [reranking], the live model, and the night's alerts before `ranked_lists`."
_TASTES = (
    "Join `interactions` of both nights by listener; then compare the live model's settings with last night's "
    "(`nocturne models list`)."
)
_SHOWN = "Compare `exposures` with `ranked_lists` of that night by listener; ask whoever runs the players."

_SHARES: tuple[tuple[str, str, Direction, float, float, str, str], ...] = (
    ("explicit", "share_explicit", "both", 0.04, 0.12, "Another share of places is explicit.", _RULES),
    ("unknown", "share_unknown", "rise", 0.01, 0.04, "Places have items that the catalogue lacks.", _RULES),
    ("new", "share_new", "both", 0.1, 0.3, "Another share of places has new items.", _RANKING),
    ("cold", "share_cold", "both", 0.05, 0.2, "Another share of places is known by text alone.", _RANKING),
    ("explored", "share_explored", "both", 0.05, 0.2, "Another share of places is drawn.", _RANKING),
    ("tail", "share_tail", "both", 0.08, 0.2, "Another share of places is outside of what is popular.", _RANKING),
    ("heard", "share_heard", "rise", 0.05, 0.15, "Lists hold more of what was heard before.", _RANKING),
    ("steered", "share_steered", "both", 0.05, 0.25, "Another share of listeners has a standing plan.",
     "Compare `steers` of both nights."),
    ("new_listeners", "share_new_listeners", "rise", 0.05, 0.2,
     "Many lists are of new listeners: old ones may come under another id.", _COMPARE),
)  # fmt: skip

LISTS = (
    Watch("ranked_lists.volume", "lists", _MARKETS, "ratio", 1.1, 1.3, "Lists are missing, or there are many more.",
          _COMPARE, noise="count"),
    Watch("ranked_lists.markets", SHARE, ("market",), "psi", 0.05, 0.25, "Listeners are in other markets.", _RULES),
    Watch("ranked_lists.content", SHARE, ("content_type",), "jensen_shannon", 0.02, 0.08,
          "Lists are of other content types than usual.", _RANKING),
    Watch("ranked_lists.sources", SHARE, ("source",), "jensen_shannon", 0.01, 0.05,
          "More listeners get a fallback, or another one.", _RANKING),
    Watch("ranked_lists.arms", SHARE, ("arm",), "jensen_shannon", 0.01, None,
          "Arms have other shares of the listeners: an experiment began or ended, or an arm has no lists.",
          "`nocturne experiments list` says what should run."),
    *(Watch(f"ranked_lists.{name}", metric, _EVERY, "difference", warn, block, meaning, step,
            direction=direction, noise="share")
      for name, metric, direction, warn, block, meaning, step in _SHARES),
    Watch("ranked_lists.explicit_let_in", "share_explicit", ("market",), "difference", 0.005, 0.02,
          "Explicit items are listed in a market that had hardly any: a rule or marks may be missing.", _RULES,
          direction="rise", at_most=0.005),
    Watch("ranked_lists.explicit_kept_out", "share_explicit", _MARKETS, "ratio", 1.6, 3.0,
          "Explicit items are hardly listed any longer where they were: a rule or marks may be too many.", _RULES,
          direction="fall", noise="share", at_least=0.02),
    Watch("ranked_lists.worth", "worth", _MARKETS, "ratio", 1.006, 1.01,
          "Lists are worth less, or more, to their listeners than last night's, as last night's model has it.",
          _COMPARE, of_model=True),
    Watch("ranked_lists.worth_of_arms", "worth_beside_all", ("arm",), "ratio", 1.006, 1.012,
          "The lists of an arm are worth less, or more, than usual beside those of all.",
          "See the arm's settings and model: `nocturne experiments show`."),
    Watch("ranked_lists.worse", "share_worse", _MARKETS, "difference", 0.005, 0.01,
          "Some have far worse lists than last night, as last night's model has it: those of others, or of less than "
          "is known of them.", _COMPARE, direction="rise", noise="share", of_model=True),
    Watch("ranked_lists.tastes", "mean_taste_kept", _MARKETS, "difference", 0.005, 0.01,
          "Items are scored for listeners otherwise than last night: rows, factors or how they are used changed.",
          _TASTES, direction="fall", of_model=True),
    Watch("ranked_lists.other_tastes", "share_of_other_taste", _MARKETS, "difference", 0.005, 0.01,
          "Some listeners are taken for others than last night: rows or factors may be those of others.",
          _TASTES, direction="rise", noise="share", of_model=True),
    Watch("ranked_lists.popularity", "mean_popularity", _EVERY, "ratio", 1.4, 2.2,
          "Lists are of far more or less popular items.", _RANKING, of_model=True),
    Watch("ranked_lists.candidates", "mean_candidates", _EVERY, "ratio", 1.2, 1.8,
          "Far fewer items could have been listed.", _RULES, direction="fall"),
    Watch("ranked_lists.churn", "mean_churn", _EVERY, "difference", 0.12, 0.3,
          "Lists changed far more, or far less, than from one night to the next.", _COMPARE, of_model=True),
    Watch("ranked_lists.churns", "churn", (QUANTILE,), "wasserstein", 0.5, 0.9,
          "Lists of some changed far more, or far less, than usual.", _COMPARE, of_model=True, at_least=0.1),
    Watch("ranked_lists.displacement", "mean_displacement", _EVERY, "ratio", 1.8, 4.0,
          "Items that stayed moved much further.", _COMPARE, of_model=True, direction="rise", at_least=1.0),
    Watch("ranked_lists.frozen", "share_unchanged", _EVERY, "difference", 0.12, 0.3,
          "Far more lists are last night's: listeners are frozen.",
          "See `rankings.reasons`, and whether their rows of `interactions` changed.",
          direction="rise", noise="share", of_model=True),
    Watch("ranked_lists.hits", "hit_rate", _MARKETS, "ratio", 1.4, 2.0,
          "Far fewer heard something of last night's list: it was worse, or was not shown, or listens are of others.",
          _COMPARE, direction="fall", noise="share"),
    Watch("ranked_lists.heard_places", "share_of_list_heard", _MARKETS, "ratio", 1.4, 2.0,
          "Far less of last night's lists was heard.", _COMPARE, direction="fall"),
    Watch("ranked_lists.length", "list_length", (QUANTILE,), "wasserstein", 0.05, 0.3, "Lists have other lengths.",
          _RANKING),
    Watch("ranked_lists.top_score", "top_score", (QUANTILE,), "wasserstein", 0.3, 0.6, "Scores are on another scale.",
          _RANKING),
    Watch("ranked_lists.calibration", "mean_type_divergence", _EVERY, "difference", 0.05, 0.15,
          "Lists are of other content types than their listeners hear.", _RANKING, direction="rise"),
    Watch("ranked_lists.familiar", "share_familiar_creators", _EVERY, "ratio", 1.06, 1.25,
          "Lists have far less of creators that their listeners know: they may be those of others.",
          _COMPARE, direction="fall", noise="share"),
    Watch("ranked_lists.coverage", "items_listed", _MARKETS, "ratio", 1.25, 1.8,
          "Lists are of far fewer or more different items: they get alike, or are drawn.", _RANKING),
    Watch("ranked_lists.concentration", "gini_of_items", _MARKETS, "difference", 0.05, 0.12,
          "Places gather on fewer items, or spread over more.", _RANKING),
    Watch("ranked_lists.top_percent", "share_of_top_percent", _MARKETS, "difference", 0.05, 0.15,
          "The most listed items have far more of the places.", _RANKING, direction="rise"),
    Watch("ranked_lists.top_creator", "share_of_top_creator", _MARKETS, "difference", 0.03, 0.1,
          "One creator has far more of the places.", _RANKING, direction="rise"),
    Watch("ranked_lists.creators", "gini_of_creators", ("all",), "difference", 0.05, 0.12,
          "Places gather on fewer creators, or spread over more.", _RANKING),
    Watch("ranked_lists.item_shift", "item_shift", ("all",), "difference", 0.1, 0.3,
          "Far more places would have to move for items to be listed as last night.", _COMPARE,
          direction="rise", of_model=True),
    Watch("ranked_lists.creator_shift", "creator_shift", ("all",), "difference", 0.08, 0.25,
          "Far more places would have to move for creators to be listed as last night.", _COMPARE,
          direction="rise", of_model=True),
    Watch("ranked_lists.creator_rise", "largest_creator_rise", ("all",), "difference", 0.02, 0.08,
          "One creator gained far more places in a night.", _COMPARE, direction="rise", of_model=True),
)  # fmt: skip

BESIDE_LISTS = (
    Watch("assignments.arms", "listeners", ("arm",), "ratio", 1.15, None,
          "An arm has far more or fewer listeners.",
          "`nocturne experiments list` says what should run.", noise="count"),
    Watch("assignments.shares", SHARE, ("arm",), "jensen_shannon", 0.005, None,
          "Arms share the listeners otherwise: an experiment began or ended, or its data are missing.",
          "`nocturne experiments list` says what should run."),
    Watch("related_items.empty", "share_empty", ("all",), "difference", 0.03, None,
          "More items have nothing that goes with them.", _RANKING, direction="rise"),
)  # fmt: skip

SHOWN = (
    Watch("exposures.volume", "exposures", ("all", "surface", "market"), "ratio", 1.4, None,
          "Far more or fewer exposures were logged than usual: experiments judge by what is missing.", _SHOWN,
          noise="count"),
    Watch("exposures.surfaces", SHARE, ("surface",), "jensen_shannon", 0.03, None,
          "Exposures are of other surfaces.", _SHOWN),
    Watch("exposures.arms", SHARE, ("arm",), "jensen_shannon", 0.01, None,
          "Exposures are of other arms: one of them may not be logged.", _SHOWN),
    Watch("exposures.hours", SHARE, ("hour",), "psi", 0.15, None,
          "Exposures are at other hours: a clock moved.", _SHOWN),
    Watch("exposures.places", "share_of_places", ("position",), "jensen_shannon", 0.03, None,
          "Other places are shown.", _SHOWN),
    Watch("exposures.drawn", "share_drawn", ("all",), "difference", 0.05, None, "Another share of places was drawn.",
          _SHOWN, noise="share"),
    Watch("exposures.as_computed", "share_as_computed", ("all", "arm", "market"), "difference", 0.02, None,
          "What was shown is not what was computed.", _SHOWN, direction="fall", noise="share"),
    Watch("exposures.in_place", "share_in_place", ("all", "arm"), "difference", 0.05, None,
          "What was shown has another order than what was computed.", _SHOWN, direction="fall", noise="share"),
    Watch("exposures.lists_shown", "share_of_lists_shown", ("all", "arm"), "ratio", 1.4, None,
          "Far fewer of the computed lists were shown, or logged.", _SHOWN, direction="fall", noise="share"),
    Watch("exposure_ingests.writers", "accepted", ("writer",), "ratio", 2.0, None,
          "A writer of exposures logs far more or less.", _SHOWN, noise="count"),
    Watch("exposure_ingests.rejects", "share_rejected", ("reason",), "difference", 0.02, None,
          "More exposures are rejected for this reason.", "Read them: `SELECT * FROM exposure_rejects`.",
          direction="rise", noise="share"),
    Watch("exposure_rejects.volume", "rejected", ("all",), "ratio", 2.0, None, "Far more exposures were rejected.",
          "Read them: `SELECT * FROM exposure_rejects`.", direction="rise", noise="count"),
)  # fmt: skip

COSTS = (
    Watch("costs.seconds", "seconds", ("stage",), "ratio", 2.0, None, "The stage takes far longer.",
          "Compare rows_read of `costs` with earlier nights: more to do, or a slower machine?",
          direction="rise", at_least=60.0),
    Watch("costs.bytes", "bytes_written", ("stage",), "ratio", 2.0, None, "The stage writes far more or less.",
          "Compare rows_written of `costs` with earlier nights.", at_least=2.0**20),
)  # fmt: skip
