"""UTI screening as an app: the agent, its laboratory, synthetic patients, and the workflow."""
