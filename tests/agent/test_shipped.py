"""The adapter that comes with Strop is whole, small, and the embedded model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from strop.agent.adapter import adapter_rank, require_adapter
from strop.agent.catalogue import load_catalogue
from strop.agent.profile import read_profile
from strop.agent.shipped import adapter_named, default_adapter, shipped_adapter
from strop.tools.errors import UsageError
from strop.tools.files import read_json

EMBEDDED = next(iter(load_catalogue()))


def test_the_embedded_models_adapter_is_whole_and_small() -> None:
    adapter = shipped_adapter(EMBEDDED)
    assert adapter is not None
    require_adapter(adapter)
    assert adapter_rank(adapter) == 16
    assert sum(file.stat().st_size for file in adapter.iterdir()) <= 20 * 2**20
    assert read_json(adapter / "adapter_config.json")["base_model_name_or_path"] == EMBEDDED
    profile = read_profile(adapter)
    assert profile.call_format == load_catalogue()[EMBEDDED].call_format
    assert profile.stop_token_id is not None


def test_a_directory_is_no_model_that_an_adapter_is_shipped_for(tmp_path: Path) -> None:
    for model in (str(tmp_path), ".", "", "..", str(shipped_adapter(EMBEDDED))):
        assert shipped_adapter(model) is None
        assert default_adapter(model, untrained=False, elsewhere=False) is None


def test_the_embedded_model_goes_with_its_adapter_unless_told_otherwise() -> None:
    assert default_adapter(EMBEDDED, untrained=False, elsewhere=False) == shipped_adapter(EMBEDDED)
    assert default_adapter(EMBEDDED, untrained=True, elsewhere=False) is None
    assert default_adapter(EMBEDDED, untrained=False, elsewhere=True) is None


def test_an_adapter_is_a_directory_or_the_shipped_one() -> None:
    assert adapter_named("runs/a", EMBEDDED) == Path("runs/a")
    assert adapter_named("shipped", EMBEDDED) == shipped_adapter(EMBEDDED)
    with pytest.raises(UsageError, match="no adapter is shipped for smollm2-135m"):
        adapter_named("shipped", "smollm2-135m")
