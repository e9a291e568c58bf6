"""Model cards: what a run recorded, with licences and intervals, and what nobody knows."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import k3dn
from k3dn.box import shelf
from pipelines.cards import card
from pipelines.cards.config import CardConfig
from pipelines.cards.facts import facts_of_run, with_more
from pipelines.cards.figures import figure, figures_of_scores, read_benchmark
from pipelines.errors import UserError
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.measure import keep, plan
from pipelines.registry.loading import settle
from pipelines.scores import PairScore, Quality
from pipelines.storage import Location
from tests.pipelines.training.versions import make_pair, write_version

OPTIONS = {"width": 2, "disparity_channels": 4, "psf_blocks": 1}


def write_weights(path: Path) -> None:
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    k3dn.save_weights(path, k3dn.build_model("nano", OPTIONS), name="nano", options=OPTIONS)


def card_of(model: object, tmp_path: Path) -> str:
    output = tmp_path / "card.md"
    card.run(CardConfig(root=str(tmp_path / "data"), model=str(model), output=str(output)))
    return output.read_text()


@pytest.mark.parametrize("name", sorted(path.stem for path in shelf.FOLDER.glob("*.json")))
def test_the_card_in_the_box_is_the_one_that_the_command_writes(name: str, tmp_path: Path) -> None:
    assert card_of(f"box:{name}", tmp_path) == (shelf.FOLDER / f"{name}.md").read_text()


def test_of_a_bare_file_a_card_says_what_nobody_knows(tmp_path: Path) -> None:
    write_weights(tmp_path / "bare.safetensors")
    text = card_of(tmp_path / "bare.safetensors", tmp_path)
    unknown = text.partition("## What is not known")[2]
    for word in ("licence", "steps", "seeds", "trained on", "figures", "where they fail", "energy"):
        assert word in unknown
    assert "# Model card: bare.safetensors" in text
    with pytest.raises(UserError, match=r"card.md exists; .*overwrite=true"):
        card_of(tmp_path / "bare.safetensors", tmp_path)


def test_of_somebodys_network_a_card_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    network, options = torch.nn.Linear(3, 2), {"args": f"touch {tmp_path}/canary", "shell": True}
    k3dn.save_weights(path, network, name="subprocess:check_output", options=options)
    text = card_of(path, tmp_path)
    assert "`subprocess:check_output`, not K3DN, 8 numbers in its file" in text
    assert not (tmp_path / "canary").exists()
    k3dn.save_weights(path, network, name="nowhere_to_be_found:build")
    (tmp_path / "card.md").unlink()
    assert "`nowhere_to_be_found:build`, not K3DN" in card_of(path, tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="it may have been cut"):
        card.run(CardConfig(model=str(path), output=str(tmp_path / "other.md")))


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run on two datasets: one made from pictures with a notice, one whose making is lost."""
    root, pictures = tmp_path / "data", tmp_path / "photographs"
    pictures.mkdir()
    (pictures / "NOTICE.md").write_text("cat.jpg: CC BY 4.0, A. Photographer | no derivatives\n")
    write_version(str(root), "made", "v1", [make_pair("made", "train", i) for i in range(3)])
    manifest = root / "made" / "v1" / "_manifest.json"
    config = {"source": "procedural", "textures": str(pictures), "kernels": ["disk", "ring"]}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "config": config}))
    folder = root / "_runs" / "mine"
    write_weights(folder / "weights.safetensors")
    settings = {"root": str(root), "seed": 7, "steps": 40, "lr": 0.25, "start_from": "/secret/w.x"}
    sources = [
        {"name": name, "version": "v1", "rows": 3, "repeat": repeat, "digest": "0"}
        for name, repeat in (("made", 1), ("lost", 5))
    ]
    record = {"config": {**settings, "num_workers": 2, "ema": None}, "datasets": sources}
    (folder / "plan.json").write_text(json.dumps(record))
    (folder / "metrics").mkdir()
    parts: dict[str, list[dict[str, Any]]] = {
        "step-00000000.jsonl": [
            {"step": 0, "event": "start", "device": "x86_64 Some Processor"},
            {"step": 10, "loss": 1.0, "s_per_step": 36.0},
        ],
        "step-00000010.jsonl": [
            {"step": 10, "event": "start", "device": "x86_64 Some Processor"},
            {"step": 20, "loss": 1.0, "s_per_step": 72.0},
            {"step": 20, "val_psnr": 30.0},
        ],
    }
    for name, rows in parts.items():
        (folder / "metrics" / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_card_tells_what_a_run_recorded(run_folder: Path, tmp_path: Path) -> None:
    known = facts_of_run(Location(str(run_folder)))
    assert (known.steps, known.seeds, known.device) == (20, (7,), "x86_64 Some Processor")
    assert known.hours == pytest.approx((10 * 36 + 10 * 72) / 3600, abs=1e-3)
    assert known.configuration == {"lr": 0.25, "start_from": "w.x", "repeat of lost@v1": 5}
    made, lost = known.data
    assert made.made == "source procedural, textures photographs, kernels disk,ring"
    assert made.notice is not None and "A. Photographer" in made.notice
    assert (lost.name, lost.pairs, lost.made, lost.notice) == ("lost@v1", 3, None, None)
    text = card_of(run_folder / "weights.safetensors", tmp_path)
    assert "A. Photographer | no derivatives" in text and "see its notice below" in text
    assert "the licence of lost@v1" in text.partition("## What is not known")[2]
    assert "/secret" not in text and str(tmp_path) not in text


def test_pairs_that_were_made_while_training_are_not_told_to_be_none(run_folder: Path) -> None:
    record = json.loads((run_folder / "plan.json").read_text())
    record["datasets"][1] |= {"name": "synth", "version": "live-1", "rows": 0}
    (run_folder / "plan.json").write_text(json.dumps(record))
    made, live = facts_of_run(Location(str(run_folder))).data
    assert (made.pairs, live.name, live.pairs) == (3, "synth@live-1", None)


def test_facts_are_put_over_what_was_recorded(run_folder: Path) -> None:
    known = facts_of_run(Location(str(run_folder)))
    more = {"hours": 2, "data": [{"name": "lost@v1", "licence": "CC0"}, {"name": "new"}]}
    merged = with_more(known, more)
    assert (merged.hours, merged.steps, merged.device) == (2.0, known.steps, known.device)
    assert [(data.name, data.licence, data.pairs) for data in merged.data] == [
        ("made@v1", None, 3),
        ("lost@v1", "CC0", 3),
        ("new", None, None),
    ]
    with pytest.raises(ValueError, match="unknown key 'licens'"):
        with_more(known, {"data": [{"name": "lost@v1", "licens": "CC0"}]})


def test_an_evaluation_of_these_weights_is_on_their_card(run_folder: Path, tmp_path: Path) -> None:
    root = str(tmp_path / "data")
    write_version(root, "held", "v1", [make_pair("held", "test", i) for i in range(3)])
    weights = run_folder / "weights.safetensors"
    gains = {"one": 1.0, "two": -0.5, "three": 2.5}
    for model, shift in ((weights, 0.0), (tmp_path / "other.safetensors", 9.0)):
        if shift:
            write_weights(model)
            network: Any = k3dn.load_weights(model)
            torch.nn.init.constant_(network.decoder.to_image.bias, 0.1)
            k3dn.save_weights(model, network, name="nano", options=OPTIONS)
        config = EvaluateConfig(root=root, datasets=["held"], model=[str(model)])
        scores = tuple(
            PairScore("held@v1", name, Quality(30, 0, 0, 0), Quality(30 + gain + shift, 0, 0, 0))
            for name, gain in gains.items()
        )
        settled = settle(str(model), "unused")
        (held,) = plan(config, settled)
        keep(config, settled, held, scores, 0)
    text = card_of(weights, tmp_path)
    (row,) = [line for line in text.splitlines() if line.startswith("| held@v1, test")]
    low, high = stats.t.interval(0.95, 2, loc=1.0, scale=stats.sem(list(gains.values())))
    assert f"| 3 | +1.00 | {low:+.2f} to {high:+.2f} | -0.50 (two) |" in row
    assert "two comes out worse, -0.50 dB" in text.partition("## Where it fails")[2]


@pytest.mark.parametrize("count", [3, 4, 12, 31, 32, 200])
def test_intervals_are_students(count: int) -> None:
    values = np.random.default_rng(count).normal(1.0, 0.7, count)
    found = figure("x", {str(i): float(v) for i, v in enumerate(values)})
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert found.low_db == pytest.approx(low, abs=2e-3)
    assert found.high_db == pytest.approx(high, abs=2e-3)
    assert (found.pictures, found.worst) == (count, str(values.argmin()))
    assert found.worst_db == pytest.approx(values.min(), abs=1e-3)


def test_few_pictures_have_no_interval() -> None:
    for count in (1, 2):
        found = figure("x", {str(i): float(i) for i in range(count)})
        assert (found.low_db, found.high_db) == (None, None)


def test_figures_are_of_each_dataset_by_itself() -> None:
    def score(dataset: str, name: str, gain: float) -> PairScore:
        return PairScore(dataset, name, Quality(20, 0, 0, 0), Quality(20 + gain, 0, 0, 0))

    found = figures_of_scores([score("a", "1", 1), score("b", "1", 3), score("a", "2", 2)])
    assert [(f.data, f.pictures, f.mean_db) for f in found] == [("a", 2, 1.5), ("b", 1, 3.0)]


def test_figures_of_the_benchmark_are_read_by_side(tmp_path: Path) -> None:
    path = tmp_path / "real.json"
    sets = {"pixel4": {"1": 1.0}, "pixel4 swapped": {"1": 0.5}, "sharp": {"a": 47.0}}
    path.write_text(json.dumps({"tiny": sets, "nano": {}}))
    found = read_benchmark(Location(str(path)), "tiny")
    assert [(f.data, f.side, f.measure) for f in found] == [
        ("pixel4", "views as taken", "gain"),
        ("pixel4", "views exchanged", "gain"),
        ("sharp", None, "unchanged"),
    ]
    for name, text, words in (
        ("other", None, "has figures of tiny, nano, not of 'other'"),
        ("tiny", "[1, 2]", "no figures of tests/benchmarks/real_pictures.py"),
        ("tiny", "{", "no figures of tests/benchmarks/real_pictures.py"),
    ):
        if text is not None:
            path.write_text(text)
        with pytest.raises(UserError, match=words):
            read_benchmark(Location(str(path)), name)
    path.unlink()
    with pytest.raises(UserError, match="there are no figures at"):
        read_benchmark(Location(str(path)), "tiny")


def test_a_gain_that_is_not_finite_is_no_entry() -> None:
    """An entry is JSON, which has no NaN: packing such figures fails before anything is written."""
    from k3dn.box.entry import Entry, Facts, entry_text

    broken = Facts(figures=(figure("x", {"1": math.nan}),))
    entry = Entry(
        name="x",
        file="x.safetensors",
        sha256="0" * 64,
        model="nano",
        parameters=1,
        stored="float32",
        facts=broken,
    )
    with pytest.raises(ValueError, match="Out of range float"):
        entry_text(entry)
