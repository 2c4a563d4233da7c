"""One command: embedded servers, supervision, the demonstration."""
