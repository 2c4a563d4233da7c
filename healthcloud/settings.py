"""All settings, in reading order; what a deployment may change is read from the environment.

`docs/operations.md` describes each variable. A value that is missing where production needs it,
or that can't be parsed, stops the process with a message that names the variable.
"""

import base64
import hashlib
import hmac
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str | None = None) -> str:
    """Return a variable, or the content of the file that NAME_FILE names; fail without both."""
    if value := os.environ.get(name):
        return value
    if path := os.environ.get(f"{name}_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    if default is None:
        raise ImproperlyConfigured(f"Set {name} (or {name}_FILE); docs/operations.md describes it.")
    return default


def env_flag(name: str, *, default: bool) -> bool:
    """Return a variable that is one of 1/0, true/false, yes/no, on/off."""
    value = env(name, "on" if default else "off").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be on or off, not {value!r}.")


def env_int(name: str, *, default: int) -> int:
    """Return a variable that is a whole number."""
    value = env(name, str(default))
    try:
        return int(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from error


# --- Where things are -------------------------------------------------------------------------

HOME = Path(env("HEALTHCLOUD_HOME", str(BASE_DIR / "var")))
BASE_URL = env("HEALTHCLOUD_BASE_URL", f"http://127.0.0.1:{env_int('PORT', default=8000)}")

# --- Security ---------------------------------------------------------------------------------

DEBUG = env_flag("HEALTHCLOUD_DEBUG", default=False)
# The embedded runtime makes its own key in HEALTHCLOUD_HOME; this default serves tests and builds.
INSECURE_KEY = "insecure: for tests and builds only"
SECRET_KEY = env("HEALTHCLOUD_SECRET_KEY", INSECURE_KEY)
ALLOWED_HOSTS = env("HEALTHCLOUD_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1],testserver").split(",")
HTTPS = BASE_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [BASE_URL]
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "healthcloud-session"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "healthcloud-csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_FAILURE_VIEW = "healthcloud.api.handlers.csrf_failure"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "style-src": ["'self'"],
        "script-src": ["'self'"],
        "connect-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "object-src": ["'none'"],
    }
}


def derive_key(purpose: str) -> bytes:
    """Return 32 bytes for one purpose, derived from the secret key."""
    return hmac.new(SECRET_KEY.encode(), purpose.encode(), hashlib.sha256).digest()


ACCESS_TOKEN_KEY = derive_key("access-token")  # signs the one-hour tokens of POST /v1/auth/token
# Key-encryption keys, newest first, each 32 bytes in URL-safe base64 (`manage.py rotate_secrets`).
KEY_ENCRYPTION_KEYS = env(
    "HEALTHCLOUD_KEY_ENCRYPTION_KEYS",
    base64.urlsafe_b64encode(derive_key("key-encryption")).decode(),
).split(",")

# What knows the types and parameters that SMART's scopes name.
CLINICAL_SCOPE_CHECK = "fhir.sight.check_scope"

# --- Database ---------------------------------------------------------------------------------


def parse_database_url(url: str) -> dict[str, str]:
    """Return Django's connection settings for `postgresql://user:password@host:port/name`."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured("DATABASE_URL must begin with postgresql://.")
    return {
        "NAME": unquote(parts.path.lstrip("/")) or "healthcloud",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or 5432),
    }


DATABASE_URL = env("DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/healthcloud")
# The owner makes schemas, roles and tables; the application's role can do none of that.
DATABASE_OWNER: dict[str, str] = parse_database_url(DATABASE_URL)
DATABASE_APPLICATION: dict[str, str] = {
    **DATABASE_OWNER,
    # Roles belong to the whole server: the database's name keeps two installations apart.
    "USER": env("HEALTHCLOUD_DATABASE_USER", f"{DATABASE_OWNER['NAME']}_app"),
    "PASSWORD": env("HEALTHCLOUD_DATABASE_PASSWORD", derive_key("database-application").hex()),
}
# How long one statement may take, so that none holds its locks for ever; 0 sets no limit. Web
# processes (asgi.py) take 30 and workers (celery.py) 300 unless told; commands have none.
STATEMENT_SECONDS = env_int("HEALTHCLOUD_STATEMENT_SECONDS", default=0)
_SESSION = {"options": f"-c statement_timeout={STATEMENT_SECONDS}s"} if STATEMENT_SECONDS else {}
DATABASES = {
    "default": {
        "ENGINE": "healthcloud.tenancy.backend",
        **DATABASE_APPLICATION,
        "CONN_MAX_AGE": env_int("HEALTHCLOUD_CONNECTION_AGE", default=1800),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"application_name": "healthcloud", "connect_timeout": 10, **_SESSION},
    }
}
ORIGINAL_BACKEND = "django.db.backends.postgresql"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Tenancy ----------------------------------------------------------------------------------

TENANT_MODEL = "organizations.Environment"
TENANT_DOMAIN_MODEL = "organizations.Domain"
TENANT_GROUP_ROLE = "healthcloud_tenant"
NARROWED_GROUP_ROLE = "healthcloud_narrowed"  # whom policies that narrow a tenant's sight bind
# Public tables that a tenant's role may read, and write; everything else public is closed to it
# (work is asked for through the function `ledger_enqueue`).
TENANT_READABLE_TABLES = [
    "organizations.Organization",
    "organizations.Environment",
    "organizations.Project",
    "organizations.Membership",
]
# Public tables of which a tenant's role may read these columns only: no digest of a password.
TENANT_READABLE_COLUMNS = {"organizations.User": ["id", "email", "name", "is_active", "created_at"]}
TENANT_WRITABLE_TABLES: list[str] = []

SHARED_APPS = [
    "django_tenants",
    "healthcloud.tenancy",
    "healthcloud.organizations",
    "healthcloud.ledger",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "django_htmx",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "healthcloud.runtime",
    "studio",
]
TENANT_APPS = [
    "healthcloud.api",
    "healthcloud.audit",
    "healthcloud.events",
    "fhir",
    "assets",
    "workflows",
]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]

# --- People -----------------------------------------------------------------------------------

AUTH_USER_MODEL = "organizations.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = env("HEALTHCLOUD_EMAIL_VERIFICATION", "optional")
ACCOUNT_SESSION_REMEMBER = False
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/studio/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"
EMAIL_BACKEND = env("HEALTHCLOUD_EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend")

# --- Web --------------------------------------------------------------------------------------

ROOT_URLCONF = "healthcloud.urls"
WSGI_APPLICATION = "healthcloud.wsgi.application"
ASGI_APPLICATION = "healthcloud.asgi.application"
# Paths that answer without end, and websockets: both bypass the request threads.
STREAMING_ROUTES = {"/v1/events/stream": "healthcloud.events.stream.sse_application"}
# Views that answer plain requests with a known key without the middleware below.
DIRECT_ROUTES = ["fhir.api.direct.ROUTES", "workflows.api.direct.ROUTES"]
# Of those, what is plainest is answered in the event loop itself.
EXPRESS_ROUTES = ["fhir.api.express.ROUTES"]
WEBSOCKET_ROUTES = [
    "healthcloud.events.routing.websocket_urlpatterns",
    "fhir.subscriptions.routing.websocket_urlpatterns",
]
APPEND_SLASH = False
MIDDLEWARE = [
    "healthcloud.api.request_ids.RequestIdMiddleware",
    "healthcloud.api.health.RequestMetricsMiddleware",
    "healthcloud.organizations.usage.UsageMiddleware",
    "healthcloud.api.cors.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "healthcloud.organizations.console.ConsolePolicyMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
STATIC_ROOT = HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 3600
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "healthcloud.organizations.authentication.BearerAuthentication",
        "healthcloud.organizations.authentication.StudioSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["healthcloud.api.permissions.HasDeclaredScope"],
    "DEFAULT_RENDERER_CLASSES": ["healthcloud.api.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["healthcloud.api.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "healthcloud.api.openapi.PlatformSchema",
    "EXCEPTION_HANDLER": "healthcloud.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "HealthCloud API",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [],  # enumerations stay where they are used, without invented names
}


def _console_link(title: str, icon: str, model: str) -> dict[str, object]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:organizations_{model}_changelist"),
    }


UNFOLD = {
    "SITE_TITLE": "HealthCloud admin",
    "SITE_HEADER": "HealthCloud",
    "SITE_SUBHEADER": "Admin console",
    "SITE_SYMBOL": "ecg_heart",
    "SITE_URL": "/studio/",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "/static/studio/favicon.svg"}
    ],
    "DASHBOARD_CALLBACK": "healthcloud.organizations.console.dashboard",
    "COLORS": {
        "primary": {
            "50": "oklch(0.977 0.012 276)",
            "100": "oklch(0.955 0.024 276)",
            "200": "oklch(0.91 0.05 276)",
            "300": "oklch(0.84 0.085 276)",
            "400": "oklch(0.72 0.14 276)",
            "500": "oklch(0.61 0.18 276)",
            "600": "oklch(0.505 0.2 274)",
            "700": "oklch(0.455 0.2 274)",
            "800": "oklch(0.4 0.17 274)",
            "900": "oklch(0.34 0.13 274)",
            "950": "oklch(0.26 0.09 274)",
        }
    },
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {
                "title": "Customers",
                "items": [
                    _console_link("Organizations", "domain", "organization"),
                    _console_link("Tenants", "database", "environment"),
                    _console_link("Hosts", "dns", "domain"),
                ],
            },
            {
                "title": "People and keys",
                "items": [
                    _console_link("People", "person", "user"),
                    _console_link("Members", "group", "membership"),
                    _console_link("Invitations", "mail", "invitation"),
                    _console_link("API keys", "key", "apikey"),
                ],
            },
        ],
    },
}
# Unlimited by default in the sandbox of one machine; production organizations follow their plan.
SANDBOX_UNLIMITED = env_flag("HEALTHCLOUD_SANDBOX_UNLIMITED", default=True)
TRUSTED_PROXIES = env_int("HEALTHCLOUD_TRUSTED_PROXIES", default=0)
METRICS_TOKEN = env("HEALTHCLOUD_METRICS_TOKEN", "")

# --- Cache, channels, broker ------------------------------------------------------------------

VALKEY_URL = env("VALKEY_URL", "redis://127.0.0.1:6379/0")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": VALKEY_URL}
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_valkey.pubsub.ValkeyPubSubChannelLayer",
        "CONFIG": {"hosts": [VALKEY_URL]},
    }
}
CELERY_BROKER_URL = env("BROKER_URL", VALKEY_URL)

# --- Work -------------------------------------------------------------------------------------

LEASE_SECONDS = env_int("HEALTHCLOUD_LEASE_SECONDS", default=10)
# How much due work of one tenant may run at once, over all workers.
TENANT_CONCURRENCY = env_int("HEALTHCLOUD_TENANT_CONCURRENCY", default=64)
WORKER_PROCESSES = env_int("HEALTHCLOUD_WORKERS", default=2)
WEB_THREADS = env_int("HEALTHCLOUD_WEB_THREADS", default=8)
# How many requests to webhooks each worker process makes at once, beside its other work.
WEBHOOK_THREADS = env_int("HEALTHCLOUD_WEBHOOK_THREADS", default=16)
# How many steps that call out (and deployments, agents) each worker process has going at once.
STEP_THREADS = env_int("HEALTHCLOUD_STEP_THREADS", default=16)
# Connections with which a web process answers plain FHIR requests without a thread; 0: none.
WEB_CONNECTIONS = env_int("HEALTHCLOUD_WEB_CONNECTIONS", default=6)
# Streams and websockets that one key (or person) may hold open in each web process.
STREAMS_PER_KEY = env_int("HEALTHCLOUD_STREAMS_PER_KEY", default=2000)

# --- Sandbox ----------------------------------------------------------------------------------

SIMULATOR_URL = env("HEALTHCLOUD_SIMULATOR_URL", "http://127.0.0.1:8010")
ALLOW_LOOPBACK_WEBHOOKS = env_flag("HEALTHCLOUD_ALLOW_LOOPBACK_WEBHOOKS", default=True)

# Hosts that `http_request` steps may call: `name`, `*.name`, `name:port`; none by default.
WORKFLOW_HTTP_HOSTS = [
    host for host in env("HEALTHCLOUD_WORKFLOW_HTTP_HOSTS", "").split(",") if host
]
# How long runs of workflows are kept after their end.
RUN_RETENTION_DAYS = env_int("HEALTHCLOUD_RUN_RETENTION_DAYS", default=365)
# Whether a conditional delete that matches several resources deletes all of them, or is refused.
FHIR_CONDITIONAL_DELETE = env("HEALTHCLOUD_FHIR_CONDITIONAL_DELETE", "single")
# Where spans of workflow steps are sent (OTLP over HTTP), such as http://collector:4318/v1/traces.
OTEL_TRACES_ENDPOINT = env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")

# --- Logs -------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}
    },
    "filters": {"request_id": {"()": "healthcloud.api.request_ids.RequestIdFilter"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["request_id"],
        }
    },
    "root": {"handlers": ["stderr"], "level": env("HEALTHCLOUD_LOG_LEVEL", "INFO")},
    # A Host that is not ours is a line of django.request, without the traceback of this one.
    "loggers": {"django.security.DisallowedHost": {"level": "CRITICAL"}},
}
