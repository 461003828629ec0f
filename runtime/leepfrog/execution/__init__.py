"""Run models on images: the context, hashed sets, units of work, runners, outputs."""
