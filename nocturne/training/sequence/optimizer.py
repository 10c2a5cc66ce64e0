"""The optimizer of networks: AdamW on clipped gradients, its rate warmed up and then lowered along a cosine."""

import optax

_WARM_UP = 0.05
_SMALLEST_RATE = 0.02


def make_optimizer(learning_rate: float, weight_decay: float, steps: int) -> optax.GradientTransformation:
    """The optimizer of a training of so many steps."""
    rate = optax.warmup_cosine_decay_schedule(
        0, learning_rate, max(1, int(_WARM_UP * steps)), steps, learning_rate * _SMALLEST_RATE
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.98, weight_decay=weight_decay))
