"""Sections of the settings: the type, range and meaning of every value."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A group of settings: frozen, and strict about names and types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ListenSettings(Section):
    """The rules by which an event counts as a listen."""

    late_days: Annotated[int, Field(ge=0, le=365, description="days back that an event may be late")]
    dedup_nights: Annotated[int, Field(ge=0, description="nights back in which an event_id counts as seen")]
    unknown_items: Annotated[
        Literal["keep", "quarantine"], Field(description="what becomes of events whose item is not in the catalogue")
    ]
    max_id_bytes: Annotated[
        int, Field(ge=1, description="longest id of an event, listener or item, bytes of UTF-8; LMDB holds 511")
    ]
    max_ms_played: Annotated[int, Field(ge=1, description="longest listening time of one event, milliseconds")]
    max_plays: Annotated[int, Field(ge=1, description="most plays that one event may stand for")]
    basket_rows: Annotated[
        int, Field(ge=1, description="rows of one listener and minute that count towards their rate")
    ]
    bot_rows: Annotated[int, Field(ge=1, description="rows a day, baskets capped, above which a listener is a bot")]


class InteractionSettings(Section):
    """The fading of past listening."""

    half_life_days: Annotated[float, Field(ge=1, le=36_500, description="days after which a play counts half")]


class SequenceSettings(Section):
    """The recipe of a sequence model: its network, and how it is learned."""

    length: Annotated[int, Field(ge=2, le=1024, description="last listens of a listener that it reads")]
    width: Annotated[int, Field(ge=2, le=1024, description="length of a vector; a multiple of heads")]
    blocks: Annotated[int, Field(ge=1, le=16, description="blocks of attention")]
    heads: Annotated[int, Field(ge=1, le=64, description="heads of a block's attention")]
    dropout: Annotated[float, Field(ge=0, lt=1, description="share of values dropped in training")]
    negatives: Annotated[int, Field(ge=1, description="items drawn beside the next one, for each batch")]
    learning_rate: Annotated[float, Field(gt=0, le=1, description="largest step of AdamW")]
    weight_decay: Annotated[float, Field(ge=0, le=1, description="of AdamW")]
    batch_listeners: Annotated[int, Field(ge=1, description="listeners of a batch, where windows are full")]
    epochs: Annotated[int, Field(ge=1, description="times that every listener is learned from, at most")]
    patience: Annotated[int, Field(ge=1, description="epochs without a better validation that end a training")]
    validation_listeners: Annotated[
        int, Field(ge=1, description="listeners whose last listen is withheld and says which epoch is taken, at most")
    ]
    seed: Annotated[int, Field(ge=0, lt=2**10, description="of the first parameters, batches and dropout")]


OPERATIONAL = frozenset(
    {"recipe", "retrain_every_nights", "sequence_every_nights", "warm_start", "threads", "matrix_memory_mb"}
)
"""Settings of training that are about when, where and whether by a race; all others make the recipe of a model."""


class AlsSettings(Section):
    """The recipe of a model, and what its training may take."""

    family: Annotated[
        Literal["als", "sequence", "blended"],
        Field(
            description="als: factors by matrix factorization; sequence: embeddings of a network that reads what a "
            "listener heard last, which the group `sequence` installs; blended: both, whose scores are added"
        ),
    ]
    recipe: Annotated[
        Literal["fit", "settings"],
        Field(description="fit: a race chooses, in first trainings and `nocturne models train`; settings: these stand"),
    ]
    factors: Annotated[int, Field(ge=1, le=4096, description="length of a factor vector")]
    iterations: Annotated[int, Field(ge=1, description="alternations of a training")]
    regularization: Annotated[float, Field(gt=0, description="ridge term of every solve")]
    regularization_exponent: Annotated[
        float,
        Field(
            ge=0,
            le=2,
            description="a listener's ridge term is regularization x items heard ^ this, "
            "when listeners are solved for ranking",
        ),
    ]
    alpha: Annotated[float, Field(gt=0, description="confidence of a strength of 1")]
    play_weight: Annotated[float, Field(ge=0, description="strength of one play")]
    minute_weight: Annotated[float, Field(ge=0, description="strength of one minute listened")]
    transform: Annotated[
        Literal["linear", "log1p", "sqrt", "binary"], Field(description="how strength becomes confidence")
    ]
    recency: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="confidence in an item is multiplied by this for each listen after its last one, "
            "when listeners are solved for ranking; 1: order does not count",
        ),
    ]
    popularity_exponent: Annotated[
        float, Field(ge=0, le=2, description="confidences are multiplied by listeners of the item ^ -this")
    ]
    activity_exponent: Annotated[
        float, Field(ge=0, le=2, description="confidences are multiplied by items of the listener ^ -this")
    ]
    score_exponent: Annotated[
        float, Field(ge=-2, le=2, description="scores are multiplied by listeners of the item ^ this")
    ]
    neighbours: Annotated[
        int, Field(ge=0, le=1000, description="most similar items kept of each item, for the second stage; 0: none")
    ]
    neighbour_exponent: Annotated[
        float,
        Field(ge=0, le=2, description="similarities and successions are divided by listeners of either item ^ this"),
    ]
    neighbour_weights: Annotated[
        Literal["similarity", "regression", "succession"],
        Field(description="similar items by similarity, the same by regression, or those that the item is heard after"),
    ]
    neighbour_ridge: Annotated[float, Field(gt=0, description="ridge term of the regression, in listeners")]
    neighbour_weight: Annotated[
        float, Field(ge=0, description="weight of the neighbourhood beside the factors in the second stage")
    ]
    blend_weight: Annotated[
        float,
        Field(gt=0, description="spread of the network's scores beside that of the factors', where both are blended"),
    ]
    sample_share: Annotated[Share, Field(description="share of listeners trained on, picked by hash")]
    min_item_listeners: Annotated[int, Field(ge=1, description="listeners an item needs to get factors")]
    min_item_coverage: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of the items with enough listeners that must keep enough of them in the sample; "
            "a sample that covers less is doubled",
        ),
    ]
    retrain_every_nights: Annotated[int, Field(ge=1, description="age in nights at which the live model is replaced")]
    sequence_every_nights: Annotated[
        int,
        Field(ge=0, description="age in nights of the newest sequence model at which a candidate is trained; 0: never"),
    ]
    warm_start: Annotated[bool, Field(description="start from the live model's item factors")]
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of the initial factors and of the sample")]
    threads: Annotated[int, Field(ge=1, description="threads of implicit; its BLAS always has one")]
    matrix_memory_mb: Annotated[
        int, Field(ge=1, description="largest training matrix, with its transpose and the listeners' factors, MiB")
    ]
    sequence: SequenceSettings

    @property
    def recipe_settings(self) -> dict[str, Any]:
        """The settings that decide what is learned: all that are not in OPERATIONAL."""
        return self.model_dump(exclude=set(OPERATIONAL))

    @property
    def rounds(self) -> int:
        """Rounds of a training, at most: iterations or epochs."""
        return self.iterations if self.family == "als" else self.sequence.epochs

    def with_recipe(self, recipe: Mapping[str, Any]) -> "AlsSettings":
        """These settings with the recipe of others, or a part of one."""
        own = self.model_dump()
        of_sequence = own["sequence"] | dict(recipe.get("sequence", {}))
        return AlsSettings.model_validate(own | dict(recipe) | {"sequence": of_sequence})


class ContentSettings(Section):
    """Items by their text, before anyone has heard them."""

    encoder: Annotated[
        Literal["hashed", "sentence"],
        Field(description="what embeds texts: hashed words, or a transformer, which the extra `sentence` installs"),
    ]
    cold_items: Annotated[bool, Field(description="rank items without listeners by what their text suggests")]


class RankingSettings(Section):
    """The content of a list, and what computing it may take."""

    top_k: Annotated[int, Field(ge=1, le=10_000, description="items in a full list")]
    let_back_after_days: Annotated[
        int, Field(ge=0, description="days after which a heard item may be listed again; 0: never")
    ]
    explicit_blocked_markets: Annotated[
        tuple[str, ...], Field(strict=False, description='markets whose lists hold no explicit item; "*": every market')
    ]
    candidates: Annotated[
        int, Field(ge=1, le=10_000, description="best items by factors that a list is chosen from, if more than top_k")
    ]
    reserve: Annotated[
        int, Field(ge=0, le=10_000, description="items kept behind the candidates, to fill in for what is withdrawn")
    ]
    shelf_types: Annotated[
        tuple[Literal["track", "podcast_episode", "audiobook", "other"], ...],
        Field(strict=False, description="content types of which every listener gets a list of their own"),
    ]
    shelf_items: Annotated[int, Field(ge=1, le=1_000, description="items in a full list of a content type")]
    shelf_reserve: Annotated[
        int, Field(ge=0, le=1_000, description="items of a type kept behind them, to fill in for what is withdrawn")
    ]
    carry_over: Annotated[bool, Field(description="keep the pools of the night before that cannot have changed")]
    audit_share: Annotated[
        float, Field(ge=0, le=1, description="share of listeners whose pools are proved every night, by hash")
    ]
    audit_at_least: Annotated[int, Field(ge=0, description="listeners whose pools are proved, however few there are")]
    items_memory_mb: Annotated[int, Field(ge=1, description="largest model that a machine's workers share, MiB")]
    batch_memory_mb: Annotated[int, Field(ge=1, description="memory of one batch of listeners, MiB")]


class RelatedSettings(Section):
    """The items that go best with an item."""

    depth: Annotated[int, Field(ge=1, le=1_000, description="related items of an item, by content type")]
    reserve: Annotated[
        int, Field(ge=0, le=1_000, description="items kept behind them, to fill in for what is withdrawn")
    ]
    neighbour_weight: Annotated[
        float, Field(ge=0, description="weight of what is heard after the item, beside the cosine of the factors")
    ]
    carry_over: Annotated[bool, Field(description="keep the rows of the night before that cannot have changed")]


class NowPlayingSettings(Section):
    """Weights of the parts of a score of what comes next; `nocturne.serving.now_playing` has the formula."""

    personal_weight: Annotated[
        float, Field(ge=0, description="weight of what the listener likes, whatever plays; that of what fits is 1")
    ]
    session_weight: Annotated[float, Field(ge=0, description="weight of what the items just played would like")]
    related_weight: Annotated[float, Field(ge=0, description="weight of what is heard after what plays")]
    creator_weight: Annotated[
        float, Field(ge=0, description="weight of what else the creator has, of items that the model lacks")
    ]
    popularity_weight: Annotated[float, Field(ge=0, description="weight of what is popular in the market")]
    recent_decay: Annotated[
        float, Field(ge=0, le=1, description="what each item played before counts for, beside the one after it")
    ]


class PromotionSettings(Section):
    """The proof that a candidate gives before it is made live."""

    top_k: Annotated[int, Field(ge=1, le=10_000, description="items of a list that are scored")]
    metrics: Annotated[
        tuple[Literal["recall", "capped_recall", "ndcg", "map", "mrr", "hit_rate"], ...],
        Field(strict=False, min_length=1, description="metrics that decide, each of the first top_k items"),
    ]
    nights: Annotated[int, Field(ge=1, description="nights compared at most, the last ones")]
    margin: Annotated[
        float,
        Field(
            ge=0, le=1, description="share of the live model's metric that the candidate's interval may reach below it"
        ),
    ]
    segment_margin: Annotated[
        float, Field(ge=0, le=1, description="share of the live model's metric that a segment may lose")
    ]
    min_listeners: Annotated[int, Field(ge=1, description="listeners that a segment needs to decide")]


class EvaluationSettings(Section):
    """The listeners by whom lists are judged, in backtests, searches and promotions."""

    max_listeners: Annotated[
        int,
        Field(
            ge=1, description="listeners evaluated at most; of more a sample by hash of their ids, which fits in memory"
        ),
    ]


class ExperimentSettings(Section):
    """The layer that experiments share, and who is kept out of all of them."""

    folder: Annotated[str, Field(description="folder of the experiments' files, from the project's root if relative")]
    salt: Annotated[
        str, Field(min_length=1, description="of the hash that gives listeners their slots; fixed while anything runs")
    ]
    holdback_share: Annotated[
        float, Field(ge=0, le=0.5, description="share of listeners that no experiment may have; 0: none")
    ]
    holdback_model: Annotated[
        str, Field(description="version of the model whose lists they get; empty: the live one, as everyone")
    ]


class RerankingSettings(Section):
    """The choice of a list from the best candidates, beside their scores; none is made where every value is neutral."""

    max_per_creator: Annotated[int, Field(ge=0, description="items of one creator in a list; 0: any number")]
    diversity: Annotated[float, Field(ge=0, le=1, description="strength of unlikeness within a list; 0: none")]
    type_calibration: Annotated[
        float, Field(ge=0, le=1, description="strength of the listener's own mix of content types; 0: none")
    ]
    genre_calibration: Annotated[
        float, Field(ge=0, le=1, description="strength of the listener's own mix of genres, which are tags; 0: none")
    ]
    fresh_slots: Annotated[int, Field(ge=0, description="new items that a list holds at least, if there are so many")]
    fresh_nights: Annotated[int, Field(ge=1, description="nights that an item is new, its first one among them")]
    exploration_places: Annotated[
        tuple[PositiveInt, ...],
        Field(strict=False, description="places of the list, from 1, whose items are drawn at random"),
    ]
    new_type_places: Annotated[
        tuple[PositiveInt, ...],
        Field(
            strict=False,
            description="the same in lists of a content type that the listener has heard nothing of, from its shelf",
        ),
    ]
    exploration: Annotated[
        Literal["uniform", "softmax"], Field(description="how likely a candidate is drawn: all alike, or by score")
    ]
    exploration_temperature: Annotated[
        float,
        Field(ge=0.01, le=100, description="of softmax, of scores from 0, the worst candidate, to 1, the best"),
    ]
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of what is drawn")]

    @property
    def neutral(self) -> bool:
        """True if lists are the heads of their candidates."""
        strengths = self.max_per_creator, self.diversity, self.type_calibration, self.genre_calibration
        return not (any(strengths) or self.fresh_slots or self.exploration_places)


class RetentionSettings(Section):
    """The time that tables keep what nights wrote."""

    nights: Annotated[
        dict[str, PositiveInt], Field(strict=False, description="nights whose rows a table keeps, by table")
    ]
    removed_files_hours: Annotated[
        int,
        Field(
            ge=0,
            description="hours that a file stays after no table needs it, for readers that opened it; 0 is for tests: "
            "a rollback writes without the lease",
        ),
    ]


class TableSettings(Section):
    """The layout of tables."""

    buckets: Annotated[int, Field(ge=1, le=100_000, description="hash buckets of users; fixed for a warehouse's life")]


class SparkSettings(Section):
    """The Spark session, where spark-submit does not decide."""

    master: Annotated[str, Field(description="where Spark runs, unless spark-submit says")]
    driver_memory: Annotated[str, Field(pattern=r"^\d+[mg]$", description="heap of the driver, such as 3g")]
    shuffle_partitions: Annotated[int, Field(ge=1, description="partitions of a shuffle")]
