"""Running models on images: execution context, hashed image sets, units of work, runners and outputs."""
