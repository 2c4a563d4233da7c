"""Forms that no manifest describes: organizations, projects, keys, invitations, webhooks."""

from typing import Any

from django import forms

from assets.forms import JsonField
from healthcloud.api.principal import ALL_SCOPES
from healthcloud.organizations.models import Role, SmartClient

EXPIRY_CHOICES = (("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"))


class OrganizationForm(forms.Form):
    """A new organization and its first project."""

    name = forms.CharField(
        label="Organization name",
        max_length=200,
        widget=forms.TextInput(attrs={"placeholder": "Riverside Health", "autofocus": True}),
    )
    project = forms.CharField(
        label="First project",
        max_length=200,
        help_text="Assets, workflows and records live in projects.",
        widget=forms.TextInput(attrs={"placeholder": "UTI screening"}),
    )


class ProjectForm(forms.Form):
    """A new project of an organization."""

    name = forms.CharField(
        label="Project name",
        max_length=200,
        help_text="It gets its own records, assets, workflows and keys in both environments.",
        widget=forms.TextInput(attrs={"placeholder": "UTI screening", "autofocus": True}),
    )


class KeyForm(forms.Form):
    """A new API key; only scopes that the person has can be chosen."""

    name = forms.CharField(
        max_length=200, widget=forms.TextInput(attrs={"placeholder": "Lab interface"})
    )
    binding = forms.ChoiceField(label="Belongs to", required=True)
    expires = forms.ChoiceField(label="Expires", choices=EXPIRY_CHOICES, required=False)
    scopes = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, granted: frozenset[str], project: str, **kwargs: Any) -> None:  # noqa: ANN401 - Django's own form arguments
        super().__init__(*args, **kwargs)
        choices = [(scope, scope) for scope in ALL_SCOPES if scope in granted]
        self.fields["scopes"] = forms.MultipleChoiceField(
            choices=choices,
            initial=[scope for scope, _ in choices if scope not in {"org:admin", "keys:write"}],
            widget=forms.CheckboxSelectMultiple,
        )
        self.fields["binding"] = forms.ChoiceField(
            label="Belongs to",
            choices=(("project", f"Project {project}"), ("organization", "The whole organization")),
        )


class OptionalJson(JsonField):
    """JSON that may be left out: an empty field, not `null`."""

    def prepare_value(self, value: object) -> str:
        """Return the text to edit."""
        return "" if value is None else super().prepare_value(value)


class AppForm(forms.Form):
    """An app of SMART App Launch."""

    name = forms.CharField(
        max_length=200, widget=forms.TextInput(attrs={"placeholder": "Growth chart"})
    )
    kind = forms.ChoiceField(label="Proves itself as", choices=SmartClient.Kind.choices)
    redirect_uris = forms.CharField(
        label="Redirect addresses",
        help_text="One on each line; the app names one of them exactly.",
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "https://app.example.org/callback"}),
    )
    launch_uri = forms.CharField(
        label="Launch address",
        max_length=2000,
        required=False,
        help_text="Where it opens when it is launched from a patient here.",
    )
    scopes = forms.CharField(
        label="Most that it may ask for",
        initial="launch launch/patient openid fhirUser online_access patient/*.rs",
        help_text="SMART scopes with spaces between them.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    jwks = OptionalJson(
        label="Public keys",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text='Of a confidential app with its own keys: {"keys": […]}.',
    )
    jwks_uri = forms.CharField(
        label="Address of its public keys",
        max_length=2000,
        required=False,
        help_text="Instead of the keys: fetched when it signs in, so that it can change them.",
    )

    def clean_redirect_uris(self) -> list[str]:
        """Return the lines that say something."""
        lines = str(self.cleaned_data["redirect_uris"]).splitlines()
        return [line.strip() for line in lines if line.strip()]

    def clean_scopes(self) -> list[str]:
        """Return the scopes as a list."""
        return str(self.cleaned_data["scopes"]).split()


class InvitationForm(forms.Form):
    """An offer of membership."""

    email = forms.EmailField(
        label="Email", widget=forms.EmailInput(attrs={"placeholder": "name@example.org"})
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.DEVELOPER)


class RoleForm(forms.Form):
    """A member's role."""

    role = forms.ChoiceField(choices=Role.choices)


class AcceptForm(forms.Form):
    """The account that an invited person makes."""

    name = forms.CharField(label="Your name", max_length=200)
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 12 characters.",
    )


class WebhookForm(forms.Form):
    """A URL that receives signed events."""

    url = forms.CharField(
        label="Endpoint URL",
        max_length=2000,
        widget=forms.URLInput(attrs={"placeholder": "https://example.org/healthcloud"}),
    )
    types = forms.CharField(
        label="Event types",
        initial="*",
        help_text="Separated by commas; workflow.* means every workflow event.",
    )
    description = forms.CharField(max_length=500, required=False)
