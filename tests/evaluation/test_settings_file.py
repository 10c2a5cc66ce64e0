"""Settings as a file: what differs from the defaults, and nothing else."""

from pathlib import Path

import pytest

from nocturne.core.settings import load_settings
from nocturne.evaluation.settings_file import settings_toml


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("als.alpha=3.5", 'als.transform="sqrt"', "ranking.top_k=7"),
        ("als.warm_start=true", "ranking.carry_over=false"),
        ("als.regularization=1e-05", "als.alpha=1e6"),
        ('ranking.explicit_blocked_markets=["DE", "*"]', "reranking.exploration_places=[3, 9]"),
        ("retention.nights.items=3", "expectations.items.max_share_untitled=0.5"),
        ("cache.user='a \"quoted\" \\\\ name'", 'cache.password_file="/run/ümläut"'),
    ],
)
def test_a_file_of_settings_gives_the_same_settings(tmp_path: Path, overrides: tuple[str, ...]):
    settings, file = load_settings(overrides=overrides), tmp_path / "settings.toml"
    file.write_text(settings_toml(settings, "a remark"), encoding="utf-8")
    assert load_settings(str(file)) == settings


def test_what_is_as_by_default_is_not_in_it():
    assert settings_toml(load_settings(), "ours") == "# ours\n"
    text = settings_toml(load_settings(overrides=["als.warm_start=true", "retention.nights.items=3"]), "ours")
    assert text == "# ours\n\n[als]\nwarm_start = true\n\n[retention.nights]\nitems = 3\n"
