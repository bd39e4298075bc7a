"""The peers: which release, which of its tests, and what is edited in them, as one does who migrates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RESOLVE = r"__import__('lazyguard').resolve(\1)"
IS_RESOLVED = r"__import__('lazyguard').is_resolved(\1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One package whose tests are run.

    Attributes:
        requirement: The release; its judgements hold for this one.
        copied: What is copied from its source distribution.
        tests: What pytest is given, and its options.
        needed: What its tests need beside it.
        edits: In what is copied: pattern -> replacement; by which name the same thing goes here.
        apart: Of some forms: which tests have no meaning there.
        forms: In which forms lazyguard stands in; see `adapters/standing.py`. None: it is about modules.
    """

    requirement: str
    copied: tuple[str, ...]
    tests: tuple[str, ...]
    needed: tuple[str, ...] = ()
    edits: tuple[tuple[str, str], ...] = ()
    apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forms: tuple[str, ...] = ("function", "hot", "module", "service", "counted")


_WRAPT = (
    "object_proxy lazy_object_proxy auto_object_proxy inplace_operators object_proxy_type_checks proxy_operands copy "
    "pickle class_mro_entries"
)
_ASSIGNED = r"^(\s*)(?!self\b)(\w+)\.__wrapped__ = (.+)$", r"\1__import__('standing').assign(\2, \3)"
# not where it is assigned otherwise
_WRAPPED = r"(?<!del )(?<![\w.])([\w.]+)\.__wrapped__(?!\s*([-+*/@%&|^:]|\*\*|//|>>|<<)?=[^=])", RESOLVE

PEERS = {
    "lazy_object_proxy": Peer(
        requirement="lazy-object-proxy==1.13.0",
        copied=("tests",),
        # three implementations have the same tests, and subclasses of them
        tests=(
            "-k",
            "simple-normal or not (slots or cext or subclassed)",
            "tests/test_lazy_object_proxy.py",
            "tests/test_async_py3.py",
        ),
        apart={
            **dict.fromkeys(("service", "counted"), ("tests/test_async_py3.py",)),  # a coroutine is no service's object
            "hot": ("tests/test_lazy_object_proxy.py::test_repr_doesnt_consume",),  # it is built at once
        },
        edits=(
            (r"\bdel (\w+)\.__wrapped__", r"__import__('lazyguard').reset(\1)"),
            _ASSIGNED,
            _WRAPPED,
            (r"\b(\w+)\.__resolved__", IS_RESOLVED),
        ),
    ),
    "wrapt": Peer(
        requirement="wrapt==2.5.2",
        copied=("tests/core",),
        tests=tuple(f"tests/core/test_{name}.py" for name in _WRAPT.split()),
        apart={
            "hot": tuple(
                f"tests/core/test_lazy_object_proxy.py::TestLazyObjectProxy::{name}"
                for name in ("test_lazy_object_proxy", "test_pathlike_interface_is_lazy")
            )
        },
        edits=(
            _ASSIGNED,
            _WRAPPED,
            # numbers, here
            (r"assertEqual\(type\((\w+)\), [\w.]+\)", r"assertIsNotNone(\1)"),
            (r"assertIsInstance\(result, wrapt.BaseObjectProxy\)", "assertIsNotNone(result)"),
            (r"assertTrue\(isinstance\(value, wrapt.BaseObjectProxy\)\)", "assertIsNotNone(value)"),
        ),
    ),
    "django": Peer(
        requirement="django==5.2.19",
        copied=("tests/utils_tests",),
        tests=("tests/utils_tests/test_lazyobject.py", "tests/utils_tests/test_simplelazyobject.py"),
        edits=(
            (r"assertIs\((\w+)\._wrapped, empty\)", r"assertFalse(__import__('lazyguard').is_resolved(\1))"),
            (r"\b(obj\d?)\._wrapped\b", RESOLVE),
        ),
    ),
    "werkzeug": Peer(
        requirement="werkzeug==3.1.9",
        copied=("tests/test_local.py",),
        tests=("-k", "proxy", "tests/test_local.py"),
        edits=(
            (r"\b(\w+)\._get_current_object\(\)", RESOLVE),
            (r"type\((\w+)\) is (local\.LocalProxy)", r"isinstance(\1, \2)"),
        ),
    ),
    "lazy_loader": Peer(
        requirement="lazy-loader==0.6",
        copied=("tests",),
        tests=("tests/test_lazy_loader.py",),
        needed=("numpy",),
        forms=("",),
    ),
    "apipkg": Peer(
        requirement="apipkg==2.1.1",  # the last with its tests in the source distribution
        copied=("test_apipkg.py",),
        tests=("-k", "not parsenamespace and not distribution", "test_apipkg.py"),
        needed=("py",),
        forms=("",),
    ),
}
