"""lazy_object_proxy.Proxy is lazyguard.lazy."""

import lazy_object_proxy
import standing
from lazy_object_proxy import simple

lazy_object_proxy.Proxy = simple.Proxy = standing.OfFactory
