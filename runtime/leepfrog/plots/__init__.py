"""Pictures, by matplotlib, which is asked for only here: pip install 'leepfrog[plot]'."""
