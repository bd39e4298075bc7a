"""What fails, and why that is right: their own API, a documented limit, or a choice of ours that a page gives.

A failure that is none of these is a fault of ours, and is mended, not listed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

KINDS = ("theirs", "limit", "choice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Why some tests of a peer fail.

    Attributes:
        kind: "theirs": it is their API; "limit": what no proxy can do; "choice": lazyguard answers otherwise.
        why: In a few words.
        page: Which page of docs/ has it, with the heading.
        tests: Their names, with or without parameters.
        forms: In which forms they fail; in any, if left out.
        since: On which Pythons: from this one on.
        before: And up to the one before this.
    """

    kind: str
    why: str
    page: str
    tests: tuple[str, ...]
    forms: tuple[str, ...] = ()
    since: tuple[int, int] = (3, 0)
    before: tuple[int, int] = (4, 0)

    def is_about(self, test: str, form: str) -> bool:
        """Return whether it is about a test of this name in that form, on this Python."""
        here = self.since <= sys.version_info[:2] < self.before
        return here and test in self.tests and form in (self.forms or (form,))


FROM_PROXIES = "howto/from-lazy-object-proxy.md"
FROM_LOADER = "howto/from-lazy-loader.md"
LIMITS = "explanation/what-a-proxy-cannot-do.md"
SERVICES = ("service", "counted")


def _of(kind: str, why: str, page: str, names: str, *forms: str, **pythons: Any) -> Judgement:
    return Judgement(kind=kind, why=why, page=page, tests=tuple(names.split()), forms=forms, **pythons)


_NONE = "a factory that returns None has forgotten a `return`"
_PICKLED = "a service is pickled by reference, so it is refused where no module has it"

JUDGED: dict[str, tuple[Judgement, ...]] = {
    "lazy_object_proxy": (
        _of(
            "theirs",
            "subclasses of the proxy, which have methods and attributes of their own",
            f"{FROM_PROXIES}#when-not-to",
            "test_revert_class_proxying test_derived_new test_setup_class_attributes test_override_class_attributes "
            "test_override_getattr test_subclassing_with_local_attr test_subclassing_dynamic_with_local_attr",
        ),
        _of(
            "theirs",
            "a proxy without a factory, `__factory__`, and `__getattr__` of the proxy",
            f"{FROM_PROXIES}#what-replaces-what",
            "test_patching_the_factory test_deleting_the_factory test_patching_the_factory_with_none test_new "
            "test_set_wrapped_via_new test_set_wrapped_regular test_resolved_new test_attr_functions",
        ),
        _of("theirs", "`repr` shows the proxy around the target", f"{FROM_PROXIES}#what-changes", "test_repr"),
        _of(
            "theirs",
            "a TypeError of Python's own, where theirs is an AttributeError",
            f"{FROM_PROXIES}#what-changes",
            "test_with_3 test_with_4 test_for_2",
        ),
        _of(
            "choice",
            _NONE,
            f"{FROM_PROXIES}#what-changes",
            "test_proxy_hasattr_call test_proxy_getattr_call test_proxy_is_callable test_callable_proxy_getattr_call "
            "test_fspath test_resolved test_resolved_str",
        ),
        _of(
            "choice",
            "what a factory raises comes as a ResolutionError, with the place",
            f"{FROM_PROXIES}#what-changes",
            "test_raise_attribute_error test_pickling_exception",
        ),
        _of("choice", _PICKLED, f"{LIMITS}#pickling", "test_pickling", *SERVICES),
        _of(
            "choice",
            "an object of a module or a service is let go of by a full collection",
            f"{LIMITS}#sizes-references-and-addresses",
            "test_garbage_collection_count",
            "module",
            *SERVICES,
        ),
        _of(
            "limit",
            "pow(3, p, 2), before Python 3.14",
            f"{LIMITS}#texts-as-numbers-and-pow-with-a-modulus",
            "test_rpow_ternary",
            before=(3, 14),
        ),
    ),
    "wrapt": (
        _of(
            "theirs",
            "subclasses of the proxy, which have methods and attributes of their own",
            f"{FROM_PROXIES}#from-wraptlazyobjectproxy",
            "TestAttributeAccess::test_attribute_lookup_modified "
            "TestAttributeAccess::test_attribute_lookup_value_exception DerivedClassAttributes::test_class_properties "
            "DerivedClassAttributes::test_override_class_attributes "
            "DerivedClassAttributes::test_setup_class_attributes OverrideAttributeAccess::test_override_getattr "
            "TestObjectCopy::test_copy_proxy "
            "TestObjectCopy::test_deepcopy_proxy TestObjectPickle::test_pickle_restoring_proxy "
            "TestProxyRoundTrip::test_roundtrip_across_pickle_protocols "
            "TestProxyRoundTrip::test_roundtrip_preserves_proxy_state "
            "TestProxyRoundTrip::test_roundtrip_preserves_proxy_type",
        ),
        _of(
            "theirs",
            "a proxy that was not initialised, or whose `__wrapped__` was deleted; attributes of the proxy itself",
            f"{FROM_PROXIES}#what-replaces-what",
            "TestAttributeAccess::test_init_not_called TestAttributeAccess::test_init_called_wrapped_deleted "
            "TestAttributeAccess::test_delete_wrapped TestAttributeAccess::test_proxy_attribute "
            "OverrideAttributeAccess::test_attr_functions "
            + " ".join(
                f"TestAsNumberObjectProxy::test_{name}_uninitialized_args"
                for name in "add and div divmod floordiv lshift mod mul or pow rshift sub xor".split()
            ),
        ),
        _of(
            "theirs",
            "`repr` shows the proxy around the target",
            f"{FROM_PROXIES}#what-changes",
            "TestObjectRepresentationObjectProxy::test_repr",
        ),
        _of(
            "theirs",
            "refused by them, answered here as the target answers: copies, pickles, os.fspath, pow with a modulus",
            f"{FROM_PROXIES}#from-wraptlazyobjectproxy",
            "TestObjectCopy::test_copy TestObjectCopy::test_deepcopy TestObjectPickle::test_pickle "
            "TestAutoObjectProxy::test_fspath TestPathLikeProtocol::test_fspath_fails_for_wrapped_path "
            "TestAsNumberObjectProxy::test_pow_modulo_proxy_raises",
        ),
        _of(
            "theirs",
            "refused by them, answered here where Python lets a class answer: buffers",
            f"{LIMITS}#buffers-before-python-312",
            "TestBufferProtocol::test_memoryview_fails_for_wrapped_bytes_like",
            since=(3, 12),
        ),
        _of(
            "theirs",
            "`p.__get__(instance)` gives a descriptor the owner None that it requires; the target raises a TypeError",
            f"{FROM_PROXIES}#from-wraptlazyobjectproxy",
            "TestLazyObjectProxy::test_descriptor_optional_owner_required_by_wrapped "
            "TestAutoObjectProxy::test_descriptor_optional_owner_required_by_wrapped "
            "TestAutoObjectProxyReassignment::test_get_added_on_reassignment",
        ),
        _of(
            "theirs",
            "`interface=` of a lazy import, which is here what a return annotation is",
            f"{FROM_PROXIES}#from-wraptlazyobjectproxy",
            "TestLazyObjectProxy::test_lazy_import_iterable",
        ),
        _of(
            "theirs",
            "None as the target is callable",
            f"{FROM_PROXIES}#what-changes",
            "CallableFunction::test_callable_proxy_getattr_call CallableFunction::test_callable_proxy_hasattr_call "
            "CallableFunction::test_callable_proxy_is_callable",
        ),
        _of(
            "limit",
            "a pending object of which nobody knows what it will be has every special method",
            f"{LIMITS}#a-pending-object-whose-factory-says-nothing",
            "TestAutoObjectProxy::test_descriptor TestAutoObjectProxy::test_fspath_not_pathlike "
            "TestAutoObjectProxyReassignment::test_call_added_on_reassignment",
            "function",
        ),
        _of(
            "choice",
            _PICKLED,
            f"{LIMITS}#pickling",
            "TestObjectPickle::test_pickle_unwrapping_proxy "
            "TestProxyRoundTrip::test_roundtrip_preserves_wrapped_object "
            "TestProxyRoundTrip::test_unpickleable_wrapped_object_raises",
            *SERVICES,
        ),
    ),
    "django": (
        _of(
            "choice",
            _NONE,
            f"{FROM_PROXIES}#what-changes",
            "LazyObjectTestCase::test_bool SimpleLazyObjectTestCase::test_bool SimpleLazyObjectTestCase::test_none",
        ),
        _of(
            "choice",
            "a copy is one of the target, so it builds that",
            f"{FROM_PROXIES}#from-simplelazyobject",
            " ".join(
                f"{case}::test_{copy}_{kind}_no_evaluation"
                for case in ("LazyObjectTestCase", "SimpleLazyObjectTestCase")
                for copy in ("copy", "deepcopy")
                for kind in ("class", "list")
            ),
        ),
        _of(
            "theirs",
            "`repr` shows the proxy around the target",
            f"{FROM_PROXIES}#what-changes",
            "SimpleLazyObjectTestCase::test_repr",
        ),
        _of(
            "theirs",
            "a trace function that wants a `self` in each frame of theirs",
            f"{FROM_PROXIES}#from-simplelazyobject",
            "SimpleLazyObjectTestCase::test_trace",
        ),
        _of(
            "choice",
            _PICKLED,
            f"{LIMITS}#pickling",
            "LazyObjectTestCase::test_pickle SimpleLazyObjectTestCase::test_pickle "
            "SimpleLazyObjectPickleTestCase::test_pickle_model SimpleLazyObjectPickleTestCase::test_pickle_with_reduce "
            "TestUtilsSimpleLazyObjectDjangoTestCase::test_pickle",
            *SERVICES,
        ),
    ),
    "werkzeug": (
        _of(
            "theirs",
            "it stands for another object at each use, and for none in between",
            f"{FROM_PROXIES}#from-localproxy",
            "test_proxy_callable test_proxy_wrapped test_proxy_fallback test_proxy_unbound",
        ),
        _of("theirs", "the docstring of the class LocalProxy", f"{FROM_PROXIES}#from-localproxy", "test_proxy_doc"),
        _of(
            "choice",
            "a service's object is no awaitable: its factory is made an `async def`",
            "howto/async.md",
            "test_proxy_await",
            *SERVICES,
        ),
    ),
    "lazy_loader": (
        _of(
            "choice",
            "`load` gives a proxy, so a submodule needs no warning, and what is missing is told at its use",
            f"{FROM_LOADER}#what-changes",
            "test_lazy_import_subpackages test_require_kwarg",
        ),
        _of(
            "choice",
            "`dir` has the names of the package too",
            f"{FROM_LOADER}#what-changes",
            "test_lazy_attach_returns_copies",
        ),
        _of(
            "choice",
            "the names are native lazy imports, which `vars` shows",
            f"{FROM_LOADER}#what-to-watch-for",
            "test_attach_caches_resolved_attrs",
            since=(3, 15),
        ),
        _of(
            "choice",
            "a stub may import from other packages",
            f"{FROM_LOADER}#what-replaces-what",
            "test_stub_loading_errors",
        ),
    ),
    "apipkg": (
        _of(
            "theirs",
            "a class for modules: its `repr`, `__map__` and `__dict__`",
            "explanation/peers.md#their-own-tests",
            "TestRealModule::test_realmodule_repr TestRealModule::test_realmodule__all__ "
            "TestRealModule::test_realmodule_dict_import TestRealModule::test_realmodule___doc__ "
            "test_bpython_getattr_override",
        ),
        _of(
            "theirs",
            "`__doc__`, `__file__` and `__path__` of the package, written by initpkg",
            "explanation/peers.md#their-own-tests",
            "TestScenarios::test_relative_import test_initpkg_transfers_attrs test_initpkg_overwrite_doc "
            "test_initpkg_not_transfers_not_existing_attrs test_initpkg_not_changing_jython_paths",
        ),
        _of(
            "theirs",
            "a function that is called at the first access, and an eager mode for one program",
            "explanation/peers.md#their-own-tests",
            "test_onfirstaccess test_onfirstaccess_setsnewattr test_onfirstaccess_race test_eagerload_on_bython",
        ),
        _of(
            "theirs",
            "the `repr` of an alias of a module, and its entry in `sys.modules`",
            "explanation/peers.md#their-own-tests",
            "test_aliasmodule_aliases_an_attribute test_aliasmodule_aliases_unimportable_fails "
            "test_aliasmodule_pytest_autoreturn_none_for_hack test_aliasmodule_repr "
            "test_aliasmodule_nested_import_with_from TestScenarios::test_from_module_alias_import",
        ),
    ),
}
