"""The pages of the shop."""

from django.core.cache import cache
from django.http import HttpRequest, JsonResponse
from django.urls import path

from shop.models import Tea
from shop.supplier import price_of


def tea_of(request: HttpRequest, name: str) -> JsonResponse:
    """A tea by the cache, else by the database; its price by the supplier, if he can be asked."""
    number = cache.get(name)
    cached = number is not None
    if not cached:
        number = Tea.objects.get_or_create(name=name)[0].pk
        cache.set(name, number, 60)
    return JsonResponse({"number": number, "cached": cached, "price": price_of(name)})


def visits(request: HttpRequest) -> JsonResponse:
    """How often this visitor was here: a session, in the cache and in the database."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


async def in_async(request: HttpRequest) -> JsonResponse:
    """What an async view sees of the same cache."""
    await cache.aset("seen", True, 60)
    return JsonResponse({"seen": await cache.aget("seen", False)})


urlpatterns = [path("teas/<name>", tea_of), path("visits", visits), path("seen", in_async)]
