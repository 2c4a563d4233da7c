"""Subscriptions: R4's own, and topic-based ones of the R5 backport.

https://hl7.org/fhir/R4/subscription.html
https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/

A Subscription is a resource like any other. What runs it stands in `fhir_subscription`, written in
the same transaction. Changes are matched behind the change feed, never by the write itself;
notifications are numbered rows that the webhook engine delivers or a websocket reads.
"""
