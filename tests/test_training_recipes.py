"""What a recipe may say, what the shipped ones say, and the sentence for what none may say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_training import SMALL, recipe_file

pytest.importorskip("lightning", reason='training needs the extra "train"')

import preproc.training
from preproc.errors import RecipeError
from preproc.networks import find
from preproc.training.data.degradation import Degradation
from preproc.training.initial_weights.network import make_network
from preproc.training.module import Restoration
from preproc.training.recipe import Data, Loss, Optimizer, Schedule, Source, Stage, Validation
from preproc.training.recipe_file import load_recipe
from preproc.training.schedule import learning_rate
from preproc.weights import load_state

RECIPES = Path(preproc.training.__file__).parent / "recipes"


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_shipped_recipes_are_valid(name):
    for stage in load_recipe(name):
        assert find(stage.model, stage.scale)
        assert all(source.licence for source in stage.data.source)


@pytest.mark.parametrize(
    "name", ["cajnn", "cajnn-continued", "cajnn-faces", "cisrnet-gpu", "cisrnet-light-continued"]
)
def test_shipped_weights_fit_the_recipes_that_start_from_them(name):
    stage = load_recipe(name)[0]
    network = make_network(stage, stage.init_from)
    small = load_state(find(stage.init_from, stage.scale))
    # Growing copies weights into the first channels, or the whole where nothing grows.
    first = next(name for name in small if name.endswith("conv_first.weight"))
    kernel = network.state_dict()[first]
    assert torch.equal(kernel[: len(small[first])], small[first].float())


def test_what_recipes_leave_out_stays_what_shipped_weights_were_trained_with():
    (stage,) = load_recipe("cajnn-light")
    assert stage.optimizer == Optimizer(kind="adam", lr=6e-4, betas=(0.9, 0.99), eps=1e-8, clip=1)
    assert (stage.loss.pixel, stage.loss.pixel_weight, stage.loss.part) == ("l1", 1, "all")
    assert {source.kernel for source in stage.data.source} == {"bicubic"}
    assert stage.data.reuse == 16
    usual = Stage("cajnn-light")
    assert (usual.scale, usual.ema, usual.validation.quality) == (4, 0.999, (10, 40))


def test_cajnn_paper_recipe_is_the_papers():
    (stage,) = load_recipe("cajnn-paper")
    assert (stage.data.patch, stage.data.batch) == (32, 36)
    assert stage.degrade == Degradation(quality=(10, 100))
    assert stage.optimizer == Optimizer(kind="adam", lr=2e-4, betas=(0.9, 0.99), eps=1e-8)
    rates = [
        learning_rate(stage.schedule, stage.optimizer.lr, at)
        for at in (0, 125_000, 249_999, 250_000, 999_999)
    ]
    assert rates == pytest.approx([2e-4, 1e-4, 1e-7, 2e-4, 1e-7], rel=1e-2)


def test_cisrnet_paper_recipe_has_both_stages():
    coarse, full = load_recipe("cisrnet-paper")
    assert coarse.loss.part == "coarse"
    assert full.loss.perceptual == "vgg19"
    assert full.loss.perceptual_weight == pytest.approx(0.05 / 255, rel=1e-2)
    assert (coarse.loss.pixel, full.loss.pixel, full.loss.pixel_weight) == ("l1", "l1", 1)
    for stage, peak, steps in ((coarse, 1e-4, 99_000), (full, 0.75e-4, 199_000)):
        assert (stage.data.patch, stage.data.batch) == (12, 16)
        assert stage.degrade == Degradation(quality=(10, 10))
        assert stage.optimizer == Optimizer(kind="adam", lr=peak, betas=(0.9, 0.999), eps=1e-8)
        assert stage.schedule.length == steps
        rates = [learning_rate(stage.schedule, peak, at) for at in (0, 75_000, 150_000)]
        assert rates == pytest.approx([peak, peak / (10 if stage is coarse else 1), peak / 10])
    (at_x2, _) = load_recipe("cisrnet-paper", ["scale = 2", "data.patch = 24"])
    assert (at_x2.scale, at_x2.data.patch) == (2, 24)


def test_an_override_goes_before_the_stage_which_goes_before_what_all_share(tmp_path):
    stages = '[[stage]]\nname = "a"\n[stage.data]\npatch = 9\nbatch = 3\n'
    (stage,) = load_recipe(recipe_file(tmp_path, SMALL + stages), ["data.batch = 4"])
    assert (stage.data.patch, stage.data.batch, len(stage.data.source)) == (9, 4, 2)


@pytest.mark.parametrize(
    "model", ["cajnn-light", "cajnn", "cisrnet-light", "cisrnet", "cisrnet-light-coarse"]
)
def test_options_of_a_network_change_nothing_else_of_the_model(model):
    usual = make_network(Stage(model), "").state_dict()
    shallow = make_network(Stage(model, network={"blocks": 1}), "").state_dict()
    assert len(shallow) < len(usual)
    assert all(value.shape == usual[key].shape for key, value in shallow.items())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("optimizer.learning_rate = 1", "learning_rate"),
        ('schedule.kind = "linear"', "cosine, step, constant"),
        ('data.batch = "many"', "wrong type"),
        ("data.patch = 0", "patch"),
        ("data.reuse = 0", "reuse"),
        ("data.workers = -1", "workers"),
        ("data.batch = true", "wrong type"),
        ("data.source = [{ weight = -1 }]", "weight"),
        ("data.source = [{ shrink = 0 }]", "shrink"),
        ("seed = -1", "seed"),
        ("optimizer.lr = 0", "lr"),
        ("optimizer.lr = inf", "lr"),
        ("optimizer.lr = true", "wrong type"),
        ("optimizer.betas = [0.9]", "wrong type"),
        ("optimizer.betas = [0.9, 1]", "betas"),
        ("schedule.length = 0", "length"),
        ("degrade.quality = [0, 10]", "quality"),
        ("ema = 1.0", "ema"),
        ("keep = 1.0", "keep"),
        ("seed = 2147483648", "seed"),
        ("data.source = [{ weight = nan }]", "data.source.weight"),
        ("optimizer.eps = -1.0", "eps"),
        ("optimizer.eps = 0", "eps"),
        ("optimizer.clip = -1.0", "clip"),
        ("loss.pixel_weight = nan", "loss.pixel_weight"),
        ("loss.lr_weight = -1", "weights of losses"),
        ("schedule.gamma = nan", "schedule.gamma"),
        ("schedule.gamma = -1", "gamma"),
        ("schedule.floor = -1e-7", "floor"),
        ("schedule.floor = 1.0", "floor 1"),
        ("schedule.warmup = -1", "warmup"),
        ("schedule.restarts = [nan]", r"schedule\.restarts"),
        ("network.features = inf", r"network\.features must be finite"),
        ("schedule.length = nan", "length"),
        ("degrade.blur_sigma = [0.1, inf]", "degrade.blur_sigma"),
        ("not toml", "TOML"),
        ("validation.quality = [10, 200]", "validation.*quality.*200"),
        ("validation.quality = [0]", "validation.*quality"),
        ("validation.quality = []", "validation.*quality"),
        ("validation.limit = -1", "validation.*limit"),
        ("validation.every = 0", "validation.*every"),
        ("validation.every = inf", r"validation\.every must be finite"),
    ],
)
def test_recipe_errors_name_the_culprit(change, word):
    with pytest.raises(RecipeError, match=word):
        load_recipe("cajnn-light", [change])


@pytest.mark.parametrize("kind", ["step", "constant"])
def test_only_a_cosine_has_a_floor_that_the_rate_must_be_above(kind):
    (stage,) = load_recipe("cajnn-light", [f'schedule.kind = "{kind}"', "optimizer.lr = 1e-8"])
    assert learning_rate(stage.schedule, stage.optimizer.lr, 1e4) == pytest.approx(1e-8)
    with pytest.raises(RecipeError, match="lr is 1e-08 and floor 1e-07"):
        load_recipe("cajnn-light", ["optimizer.lr = 1e-8"])


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        (Source, {"weight": -1.0}, r"data\.source: a source's weight"),
        (Source, {"weight": float("inf")}, r"data\.source\.weight must be finite"),
        (Source, {"shrink": 0}, r"data\.source: .* its shrink 1"),
        (Source, {"kernel": "wide"}, r"data\.source: a source's kernel is one of .*'wide'"),
        (Data, {"source": (Source(weight=0),) * 2}, r"data\.source: .* every source is 0"),
        (Data, {"patch": -3}, r"data\.patch, .* must be at least 1"),
        (Data, {"workers": -1}, r"data\.workers must be at least 0"),
        (Degradation, {"blur_sigma": (0.1, float("inf"))}, r"degrade\.blur_sigma must be finite"),
        (Optimizer, {"lr": -1.0}, r"optimizer\.lr .* must be above 0"),
        (Optimizer, {"betas": (0.9, 1.0)}, r"optimizer\.betas lie in"),
        (Optimizer, {"clip": float("nan")}, r"optimizer\.clip must be finite"),
        (Schedule, {"length": 0.0}, r"schedule\.length must be above 0"),
        (Schedule, {"warmup": -1.0}, r"schedule\.warmup must be at least 0"),
        (Schedule, {"restarts": (5.0, -5.0)}, r"schedule\.restarts .* must be above 0"),
        (Schedule, {"milestones": (0.0,)}, r"schedule\.milestones must be above 0"),
        (Schedule, {"milestones": (float("inf"),)}, r"schedule\.milestones must be finite"),
        (Loss, {"lr_weight": -1.0}, "loss: the weights of losses"),
        (Loss, {"pixel_weight": 0.0}, "loss: pixel_weight, .* all 0, .* nothing would be"),
        (Loss, {"perceptual": "craft"}, 'is "craft", but loss.perceptual_weight 0, .* ignored'),
        (Loss, {"perceptual_weight": 0.1}, 'is "none", but loss.perceptual_weight 0.1, .* ignored'),
        (Schedule, {"milestones": (5.0,)}, r'milestones is for kind = "step", .* is "cosine"'),
        (Schedule, {"kind": "step", "restarts": (5.0,)}, r'restarts .* "cosine", .* is "step"'),
        (Validation, {"quality": ()}, r"validation\.quality lists"),
        (Validation, {"every": 0.0}, r"validation\.every above 0"),
    ],
)
def test_each_table_refuses_by_itself_what_it_cannot_hold(table, values, words):
    with pytest.raises(RecipeError, match=words):
        table(**values)


def test_a_perceptual_loss_is_switched_off_with_its_weight():
    changes = ['loss.perceptual = "none"', "loss.perceptual_weight = 0"]
    assert load_recipe("cajnn-ocr", changes)[0].loss == Loss()
    for change in changes:
        with pytest.raises(RecipeError, match='set "none" and 0'):
            load_recipe("cajnn-ocr", [change])


def test_an_error_names_the_file_and_of_several_stages_the_one(tmp_path):
    with pytest.raises(RecipeError, match=r"^recipe\.toml: optimizer\.lr"):
        load_recipe(recipe_file(tmp_path), ["optimizer.lr = -1"])
    for wrong in ("-1", '"fast"'):
        stages = f'[[stage]]\nname = "a"\n[[stage]]\noptimizer = {{ lr = {wrong} }}\n'
        with pytest.raises(RecipeError, match=r"^recipe\.toml, stage 2: optimizer\.lr"):
            load_recipe(recipe_file(tmp_path, SMALL + stages))


def test_an_override_that_is_no_toml_is_named_with_how_texts_are_written():
    changes = ["data.patch = 16", "validation.path = "]
    with pytest.raises(RecipeError, match=r"override validation\.path = .*need quotes.*'valid"):
        load_recipe("cajnn-light", changes)


def test_a_recipe_names_its_model_and_each_stage_by_another_name(tmp_path):
    with pytest.raises(RecipeError, match=r"^recipe\.toml: the key 'model' is missing"):
        load_recipe(recipe_file(tmp_path, "scale = 4"))
    with pytest.raises(RecipeError, match="a name of its own"):
        load_recipe(recipe_file(tmp_path, SMALL + "[[stage]]\n[[stage]]\n"))
    (tmp_path / "latin.toml").write_bytes('name = "\xe9"'.encode("latin-1"))
    with pytest.raises(RecipeError, match="TOML"):
        load_recipe(tmp_path / "latin.toml")


def test_a_recipe_may_begin_with_the_mark_that_windows_notepad_saves(tmp_path):
    (tmp_path / "marked.toml").write_text(SMALL, encoding="utf-8-sig")
    assert load_recipe(tmp_path / "marked.toml") == load_recipe(recipe_file(tmp_path))


@pytest.mark.parametrize("name", ["../evil", "/evil", "", ".", "..", "cache", "a/b", "a\\\\b"])
def test_a_stage_stays_in_the_output_folder_and_out_of_the_cache(name):
    with pytest.raises(RecipeError, match="stage's name"):
        load_recipe("cajnn-light", [f'name = "{name}"'])


@pytest.mark.parametrize("change", ['features = "x"', "features = 7.5", "blocks = 1.5"])
def test_options_that_no_network_can_be_made_with_are_a_sentence(change):
    (stage,) = load_recipe("cajnn-light", [f"network = {{ {change} }}"])
    with pytest.raises(RecipeError, match=r"network: cajnn-light cannot be made with .*; change"):
        make_network(stage, "")


def test_a_coarse_network_has_no_fine_half_to_train(data, tmp_path):
    [stage] = load_recipe(
        recipe_file(tmp_path, 'model = "cisrnet-light-coarse"\nscale = 2\n[loss]\npart = "fine"\n')
    )
    with pytest.raises(RecipeError, match="no fine half"):
        Restoration(stage, make_network(stage, ""))


def test_missing_recipe_lists_those_there_are():
    with pytest.raises(RecipeError, match="cajnn-light"):
        load_recipe("nothing")


@pytest.mark.parametrize("stages", ['[stage]\nname = "only"', "stage = []", "stage = [1]"])
def test_stages_that_are_no_tables_in_double_brackets_are_a_sentence(stages, tmp_path):
    recipe = recipe_file(tmp_path, f"{stages}\n{SMALL}" if "= [" in stages else SMALL + stages)
    with pytest.raises(RecipeError, match=r"recipe\.toml.*\[\[stage\]\]"):
        load_recipe(recipe)
