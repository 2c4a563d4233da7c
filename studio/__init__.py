"""The server-rendered interface: thin views over the same services the API calls; no models."""
