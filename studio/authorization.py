"""Routes of the authorization page, which stand outside `/studio/`: apps know them by discovery."""

from django.urls import path

from studio.views import authorize

urlpatterns = [
    path("authorize", authorize.authorize, name="authorize"),
    path("grants", authorize.own_grants, name="own_grants"),
    path("authorize/decide", authorize.decide, name="authorize_decide"),
]
