"""The WSGI entry point: every HTTP request that doesn't stream goes through it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcloud.settings")

application = get_wsgi_application()
