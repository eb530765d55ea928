"""Optional libraries that are missing or broken: one sentence that names them."""

from __future__ import annotations

import pytest

from preproc.errors import PreprocError
from preproc.extras import importing


def fail_with(error: Exception) -> None:
    with importing("integrations.easyocr", "pip install easyocr"):
        raise error


@pytest.mark.parametrize("name", ["shapely", "shapely.geometry"])
def test_the_one_that_is_not_installed_is_named(name):
    with pytest.raises(PreprocError) as caught:
        fail_with(ModuleNotFoundError(f"No module named {name!r}", name=name))
    assert str(caught.value) == (
        "integrations.easyocr needs shapely, which is not installed: pip install easyocr."
    )


def test_one_that_is_installed_but_broken_is_not_called_missing():
    cause = "libGL.so.1: cannot open shared object file"
    with pytest.raises(PreprocError) as caught:
        fail_with(ImportError(cause, name="cv2"))
    assert str(caught.value) == (
        f"integrations.easyocr needs cv2, which is installed but cannot be imported ({cause}); "
        "mend it, or pip install easyocr."
    )


def test_a_library_s_own_words_are_passed_on():
    with pytest.raises(PreprocError, match=r"needs a library, which .* \(onnxruntime is too old\)"):
        fail_with(ImportError("onnxruntime is too old"))


def test_a_torchvision_for_another_torch_is_a_sentence():
    with pytest.raises(
        PreprocError, match=r"was built for another torch .* install the two together"
    ):
        fail_with(RuntimeError("operator torchvision::nms does not exist"))
    with pytest.raises(RuntimeError, match=r"^another$"):
        fail_with(RuntimeError("another"))


@pytest.mark.parametrize("name", ["preproc.gone", "integrations", "eval_tasks.wider"])
def test_a_mistake_of_our_own_is_not_blamed_on_a_library(name):
    mistake = ImportError("cannot import name 'x'", name=name)
    with pytest.raises(ImportError) as caught:
        fail_with(mistake)
    assert caught.value is mistake
