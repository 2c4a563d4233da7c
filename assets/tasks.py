"""Due work of this app: carry out deploys, acknowledge to vendors, watch health."""

from datetime import timedelta

from assets import acknowledgement
from assets.calls import AGENT_RUN_KIND, AGENT_RUN_QUEUE, carry_out_run
from assets.invocation import ACKNOWLEDGE_KIND, ACKNOWLEDGE_QUEUE, NotRunning
from assets.sdk import AssetError
from assets.services import health, rollout
from assets.services.deployments import DEPLOY_KIND, DEPLOY_QUEUE
from healthcloud.actors import SYSTEM
from healthcloud.ledger.handlers import ClaimedWork, Done, GiveUp, Outcome, RetryAt, register


def _deploy_is_dead(work: ClaimedWork, error: str) -> None:
    rollout.give_up(scope=work.scope, deployment_id=work.ref, actor=SYSTEM, now=work.now)


@register(DEPLOY_KIND, DEPLOY_QUEUE, on_dead=_deploy_is_dead, max_attempts=5)
def carry_out_deploy(work: ClaimedWork) -> Outcome:
    """Take a deployment to its target release."""
    rollout.carry_out(scope=work.scope, deployment_id=work.ref, actor=SYSTEM, now=work.now)
    return Done()


@register(health.HEALTH_KIND, health.HEALTH_QUEUE)
def watch_health(work: ClaimedWork) -> Outcome:
    """Check a running deployment, and ask to be called again while it runs."""
    again = health.watch(scope=work.scope, deployment_id=work.ref, actor=SYSTEM, now=work.now)
    return Done() if again is None else RetryAt(again)


@register(AGENT_RUN_KIND, AGENT_RUN_QUEUE)
def run_queued_agent(work: ClaimedWork) -> Outcome:
    """Run an agent that was asked for with `Prefer: respond-async`."""
    try:
        carry_out_run(scope=work.scope, run_id=work.ref, now=work.now)
    except NotRunning:
        return GiveUp("not_running")
    return Done()


@register(ACKNOWLEDGE_KIND, ACKNOWLEDGE_QUEUE)
def acknowledge_receipt(work: ClaimedWork) -> Outcome:
    """Tell a vendor that what it sent is stored; retryable failures are tried again."""
    try:
        acknowledgement.acknowledge(scope=work.scope, receipt_id=work.ref, now=work.now)
    except AssetError as error:
        if not error.retryable:
            return GiveUp(error.code)
        wait = error.retry_after or min(2.0**work.attempt, 300.0)
        return RetryAt(work.now + timedelta(seconds=wait), error.code)
    return Done()
