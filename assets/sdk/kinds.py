"""What a package subclasses, one class for each kind of asset. Pure."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from assets.sdk.context import Context
from assets.sdk.probes import Probe
from assets.sdk.values import Json, Result


class Asset:
    """What all kinds have in common."""

    kind: ClassVar[str]

    def check(self, context: Context) -> Iterable[Probe]:
        """Yield the probes of a connection or health test, in order; stop after the first failure.

        Runs before a deployment becomes active and whenever somebody asks. It changes nothing,
        here or at the vendor. The default has nothing to test.
        """
        return ()


class Agent(Asset):
    """Executes a task on the project's data and proposes what to write."""

    kind = "agent"

    def run(self, context: Context, input: Json) -> Result:
        """Do the task. `input` is valid under the manifest's `provides.input_schema`."""
        raise NotImplementedError


class Connector(Asset):
    """Speaks a vendor's protocol."""

    kind = "connector"

    def invoke(self, context: Context, action: str, input: Json) -> Result:
        """Run one of the manifest's `provides.actions`; `input` is valid under its schema."""
        raise NotImplementedError

    def acknowledge(self, context: Context, receipt: Json) -> None:
        """Tell the vendor that what `receipt` stands for is stored. Called after the commit.

        At least once: it must be safe to repeat. A retryable AssetError is tried again later.
        """


class Model(Asset):
    """Turns an input into a prediction."""

    kind = "model"

    def predict(self, context: Context, input: Json) -> Result:
        """Predict. `input` is valid under the manifest's `provides.input_schema`."""
        raise NotImplementedError


class Dataset(Asset):
    """Brings data into the project."""

    kind = "dataset"

    def load(self, context: Context, input: Json) -> Iterator[Result]:
        """Yield results in batches of a few hundred writes; each is committed on its own.

        Writes are upserts with stable ids, so that loading twice changes nothing.
        """
        raise NotImplementedError


class App(Asset):
    """A bundle of assets and workflows; it has no code of its own unless it needs a check."""

    kind = "app"
