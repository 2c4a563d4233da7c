"""Forms that no manifest describes: organizations, projects, keys, invitations, webhooks."""

from typing import Any

from django import forms

from healthcloud.api.principal import ALL_SCOPES
from healthcloud.organizations.models import Role

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
