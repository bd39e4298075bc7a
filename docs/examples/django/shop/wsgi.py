"""What the WSGI server is pointed at: `shop.wsgi:application`."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
