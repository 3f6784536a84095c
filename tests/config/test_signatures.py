import subprocess
import sys
import textwrap
from itertools import count

import pytest

from hrpose.config.signatures import UnknownTargetError, find_signature

_numbers = count()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write the files of a package that must not be imported, and give its name."""
    name = f"written_{next(_numbers)}"
    monkeypatch.syspath_prepend(tmp_path)

    def write(**files: str) -> str:
        folder = tmp_path / name
        for module, text in {"init": "", **files}.items():
            path = folder / ("__init__.py" if module == "init" else module.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text) + "\nraise RuntimeError('imported')\n")
        return name

    return write


def names(target: str) -> list[str]:
    return list(find_signature(target).parameters)


def required(target: str) -> list[str]:
    return [parameter.name for parameter in find_signature(target).parameters.values() if parameter.required]


def test_arguments_of_a_class_and_of_a_function(package):
    name = package(
        a="""
        class Net:
            def __init__(self, width, /, depth: int = 3, *, bias: bool): ...
        def make(folder, size=2, **others): ...
        """
    )
    assert names(f"{name}.a.Net") == ["width", "depth", "bias"]
    assert required(f"{name}.a.Net") == ["width", "bias"]
    assert names(f"{name}.a.make") == ["folder", "size"]
    assert find_signature(f"{name}.a.make").open_ended
    assert not find_signature(f"{name}.a.Net").open_ended


@pytest.mark.parametrize(
    "init",
    [
        "from .a import Net",
        "from {name}.a import Net",
        "from .a import Net as Other\nNet = Other",
        "from . import a\nNet = a.Net",
        "import {name}.a as b\nNet = b.Net",
        "from .a import *",
        "if True:\n    from .a import Net\nelse:\n    Net = None",
        "try:\n    from .a import Net\nexcept ImportError:\n    Net = None",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import Net\ndef __getattr__(name): ...",
    ],
)
def test_names_are_followed_from_file_to_file(package, init):
    name = package(a="class Net:\n    def __init__(self, width): ...")
    package(init=init.format(name=name), a="class Net:\n    def __init__(self, width): ...")
    assert names(f"{name}.Net") == ["width"]


def test_a_constructor_is_inherited(package):
    name = package(
        a="class Base:\n    def __init__(self, width): ...",
        b="""
        from abc import ABC
        from . import a
        class Middle(a.Base, ABC): ...
        class Net(Middle):
            depth = 3
        """,
    )
    assert names(f"{name}.b.Net") == ["width"]


def test_a_class_without_constructor_takes_nothing(package):
    assert names(package(a="class Empty: ...") + ".a.Empty") == []


def test_fields_of_a_dataclass_are_its_arguments(package):
    name = package(
        a="""
        import dataclasses
        from dataclasses import dataclass, field
        from typing import ClassVar
        @dataclass
        class Base:
            first: int
        @dataclasses.dataclass(frozen=True)
        class Codec(Base):
            second: float = 2.0
            third: list = field(default_factory=list)
            fourth: int = field(init=False, default=3)
            fifth: int = field(kw_only=True)
            sixth: ClassVar[int] = 1
            seventh = 4
        """
    )
    assert names(f"{name}.a.Codec") == ["first", "second", "third", "fifth"]
    assert required(f"{name}.a.Codec") == ["first", "fifth"]


def test_methods_that_construct(package):
    name = package(
        a="""
        class Base:
            @classmethod
            def from_names(cls, names, title=""): ...
        class Skeleton(Base):
            @staticmethod
            def from_file(file): ...
        """
    )
    assert names(f"{name}.a.Skeleton.from_names") == ["names", "title"]
    assert names(f"{name}.a.Skeleton.from_file") == ["file"]


def test_a_submodule_without_init_is_found(package):
    name = package(below__deep="def make(size): ...")
    assert names(f"{name}.below.deep.make") == ["size"]


def test_modules_that_are_no_source_are_imported_and_asked():
    assert names("math.fsum") == ["seq"]
    assert find_signature("builtins.dict").open_ended


def test_names_made_while_a_module_runs_are_asked_for(tmp_path, monkeypatch):
    (tmp_path / "lazy_names.py").write_text(
        "def __getattr__(name):\n"
        "    if name == 'Late':\n"
        "        return lambda width: width\n"
        "    raise AttributeError(name)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert names("lazy_names.Late") == ["width"]
    with pytest.raises(UnknownTargetError, match=r"there is no 'lazy_names.Latte'"):
        find_signature("lazy_names.Latte")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("torch.optim.Adm", "there is no 'torch.optim.Adm'. Did you mean torch.optim.Adam?"),
        ("torch.optm.Adam", "there is no 'torch.optm'. Did you mean torch.optim?"),
        ("hrpose.models.HRNett", "there is no 'hrpose.models.HRNett'. Did you mean hrpose.models.HRNet?"),
        (
            "hrpose.skeletons.Skeleton.from_name",
            "there is no 'hrpose.skeletons.skeleton.Skeleton.from_name'. "
            "Did you mean hrpose.skeletons.skeleton.Skeleton.from_names?",
        ),
        ("torhc.optim.Adam", "no package is named 'torhc'; is it installed?"),
        ("torch.optim", "'torch.optim' is a module, not a class or function."),
        ("math.pi", "'math.pi' is a float, not a class or function."),
        ("", "no package is named ''; is it installed?"),
    ],
)
def test_an_unknown_target_says_what_there_is(target, message):
    with pytest.raises(UnknownTargetError) as caught:
        find_signature(target)
    assert str(caught.value) == message


def test_real_libraries_are_read_without_importing_them():
    targets = [
        "torch.optim.Adam",
        "torch.optim.lr_scheduler.MultiStepLR",
        "lightning.pytorch.Trainer",
        "lightning.pytorch.callbacks.ModelCheckpoint",
        "lightning.pytorch.loggers.WandbLogger",
        "albumentations.CoarseDropout",
        "hrpose.HRNet",
        "hrpose.data.datamodule.PoseDataModule",
    ]
    program = (
        "import sys\n"
        "from hrpose.config.signatures import find_signature\n"
        f"for target in {targets}: assert find_signature(target).parameters, target\n"
        "print([name for name in ('torch', 'lightning', 'albumentations', 'cv2', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_module_beside_lazy_names_is_read_not_imported() -> None:
    """`hrpose` makes its public names when they are used; its modules are found as files all the same."""
    code = (
        "from hrpose.config.signatures import find_signature; find_signature('hrpose.schedules.one_cycle'); import sys"
    )
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=True)
