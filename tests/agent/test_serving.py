"""What `strop serve` puts together refuses what does not fit before it costs anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from strop.agent.cli.serving import ServeSettings, serving
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate
from strop.agent.loading import PolicySource
from strop.agent.policy import Policy
from strop.agent.server.app import create_app
from strop.agent.server.roster import Roster, ServedModel
from strop.agent.server.run import running
from strop.agent.server.served import Served
from strop.refine.assurance import Gate, Statistic
from strop.refine.refiner import Stopping
from strop.tools.errors import UsageError
from tests.agent.server.serving import no_refiner
from tests.agent.test_chat import PLAIN, byte_tokenizer
from tests.training.tiny import tiny_checkpoint


@pytest.mark.parametrize("name", ["m", "strop:a"])
async def test_a_name_that_is_taken_is_refused_before_an_engine_starts(name: str, tmp_path: Path) -> None:
    settings = ServeSettings(PolicySource("m"), adapters=((name, tmp_path),))
    with pytest.raises(UsageError, match="taken or reserved"):
        async with serving(settings):
            raise AssertionError("it was loaded")


async def test_a_gate_of_other_weights_is_refused_with_the_model_it_is_for(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    byte_tokenizer(PLAIN).save_pretrained(checkpoint)
    engine = ScriptedEngine(lambda _: "x", model="tiny")
    behind = Served(Roster(ServedModel(Policy(engine, ScriptedTemplate()), no_refiner)))
    async with running(create_app(behind)) as url:
        source = PolicySource(str(checkpoint), backends=(url,))
        stopping = Stopping(gate=Gate(Statistic.MEAN, -1.0, "other", "of another"))
        with pytest.raises(UsageError, match=r"calibrated for other.*same model and adapter"):
            async with serving(ServeSettings(source, stopping=stopping)):
                raise AssertionError("it was served")
