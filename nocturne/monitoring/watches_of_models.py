"""Watches of what is learned: models, factors, texts, and the pools made by them."""

from nocturne.monitoring.watch import QUANTILE, Watch

_MODEL = (
    "`nocturne models list` says which model is live; put the one before back, or train again, and run the night again."
)
_TEXTS = "Compare titles and descriptions of `items` with last night's; see `content.encoder`."
_POOLS = "See whether the model changed (`nocturne models list`), then `rankings.reasons`: why pools were computed."

MODELS = (
    Watch("models.size", "items", ("all",), "ratio", 1.1, 1.3, "The model knows far more or fewer items.", _MODEL),
    Watch("models.listeners", "listeners", ("all",), "ratio", 1.2, 1.6,
          "The model learned from far more or fewer listeners.", _MODEL),
    Watch("models.entries", "entries", ("all",), "ratio", 1.25, 1.8,
          "The model learned from far more or less.", _MODEL),
    Watch("models.loss", "loss", ("all",), "ratio", 1.3, 2.5, "The model fits otherwise than those before.", _MODEL),
    Watch("models.rank", "effective_rank", ("all",), "ratio", 1.3, 2.0,
          "Factors use fewer directions: lists get alike.", _MODEL, direction="fall"),
)  # fmt: skip

_EITHER = tuple(
    watch
    for table, whose in (("item_factors", "learned"), ("cold_factors", "new items'"))
    for watch in (
        Watch(f"{table}.norm", "norm", (QUANTILE,), "wasserstein", 0.3, 0.6,
              f"The {whose} factors are longer or shorter: scores of the two kinds of item compare otherwise.", _MODEL),
        Watch(f"{table}.alike", "mean_random_cosine", ("all",), "difference", 0.1, 0.3,
              f"The {whose} factors have become alike: they tell items apart no longer.", _MODEL, direction="rise"),
        Watch(f"{table}.rank", "effective_rank", ("all",), "ratio", 1.3, 2.0,
              f"The {whose} factors use fewer directions: they have collapsed.", _MODEL, direction="fall"),
    )
)  # fmt: skip

FACTORS = (
    *_EITHER,
    Watch("item_factors.meaning", "gain_of_heard_together", ("all",), "ratio", 1.3, 1.6,
          "Items that are heard together are no longer near each other: factors may be those of other items.",
          _MODEL, direction="fall", of_model=True),
    Watch("item_factors.neighbours", "gain_of_neighbours", ("all",), "ratio", 1.05, 1.2,
          "Items are no longer near their neighbours: factors and neighbours are not of the same items.",
          _MODEL, direction="fall", of_model=True),
    Watch("item_factors.weights", "neighbour_weight", (QUANTILE,), "wasserstein", 0.1, 0.2,
          "Neighbours weigh otherwise as evidence of an item, or against it.", _MODEL, of_model=True),
    Watch("item_factors.turned", "cosine_to_last_model", ("all",), "difference", 0.1, 0.3,
          "The new model says other things about the same items than the one before.", _MODEL, direction="fall"),
    Watch("item_factors.kept", "neighbours_kept", ("all",), "difference", 0.15, 0.4,
          "In the new model other items are near each other.", _MODEL, direction="fall"),
    Watch("item_factors.coverage", "share_of_index", ("all",), "difference", 0.03, 0.1,
          "The model ranks a smaller part of the items.", _MODEL, direction="fall"),
    Watch("cold_factors.meaning", "gain_of_creators", ("all",), "ratio", 1.5, 3.0,
          "New items of one creator are no longer near each other: texts may be those of other items.",
          _TEXTS, direction="fall"),
    Watch("item_texts.alike", "mean_random_cosine", ("all",), "difference", 0.1, 0.3,
          "Embeddings of texts have become alike: new items are ranked without telling them apart.",
          _TEXTS, direction="rise"),
    Watch("item_texts.rank", "effective_rank", ("all",), "ratio", 1.3, 2.0,
          "Embeddings use fewer directions: they have collapsed.", _TEXTS, direction="fall"),
    Watch("item_texts.meaning", "gain_of_creators", ("all",), "ratio", 1.5, 3.0,
          "Texts of one creator are no longer near each other: they may be those of other items.",
          _TEXTS, direction="fall"),
)  # fmt: skip

POOLS = (
    Watch("pools.volume", "pools", ("all",), "ratio", 1.1, 1.3, "Pools are missing, or there are many more.",
          _POOLS, noise="count"),
    Watch("pools.carried", "share_carried", ("all",), "difference", 0.2, None,
          "Another share of pools was carried over: listeners may be frozen, or everything is computed each night.",
          _POOLS, of_model=True, noise="share"),
    Watch("pools.top_score", "top_score", (QUANTILE,), "wasserstein", 0.12, 0.25,
          "Scores are on another scale.", _POOLS),
    Watch("pools.last_score", "last_score", (QUANTILE,), "wasserstein", 0.4, None,
          "The ends of pools are on another scale.", _POOLS),
    Watch("pools.length", "pool_length", (QUANTILE,), "wasserstein", 0.1, 0.5, "Pools have other lengths.", _POOLS),
    Watch("pools.listeners", "listener_norm", (QUANTILE,), "wasserstein", 0.12, 0.25,
          "Listeners' factors are longer or shorter: what they are solved from changed.", _POOLS),
)  # fmt: skip
